"""Files that labkit writes into somebody else's folder: what has been edited since is known, and never overwritten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from labkit import cache

RECORD = ".labkit-written.json"


class EditedError(RuntimeError):
    """A file was edited since labkit wrote it; the message says which, and what to do."""


def write(
    folder: Path,
    wanted: Mapping[str, str | bytes],
    *,
    force: bool = False,
    notes: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write files below a folder and remember what was written; return the paths of those that changed.

    Parameters
    ----------
    wanted : dict
        Path relative to ``folder``, with forward slashes -> content.
    force : bool
        Put edited files aside, each as ``NAME.yours`` (``NAME.yours2`` if there is one already), instead of refusing.
    notes : dict, optional
        What else the record should say, under names that are no paths.

    Raises
    ------
    EditedError
        If a file is neither what will be written nor what was; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> [path.name for path in write(folder, {"a.txt": "one"})], write(folder, {"a.txt": "one"})
    (['a.txt'], [])
    """
    known = read_record(folder)
    contents = {name: value.encode() if isinstance(value, str) else value for name, value in wanted.items()}
    edited = [name for name, content in contents.items() if _edited(folder / name, content, known.get(name))]
    if edited and not force:
        raise EditedError(
            f"edited since labkit wrote them, or not written by it: {', '.join(str(folder / name) for name in edited)}. "
            "Nothing was written. Move them away, or add --force, which keeps each as NAME.yours beside the new one"
        )
    for name in edited:
        (folder / name).replace(_aside(folder / name))
    changed = []
    for name, content in contents.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            _write(path, content)
            changed.append(path)
        known[name] = fingerprint(content)
    known.update(notes or {})
    _write(folder / RECORD, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
    return changed


def read_record(folder: Path) -> dict[str, str]:
    """Return what labkit has written below a folder: relative path -> fingerprint."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # lost or damaged: everything that is there then counts as the instructor's
        return {}
    return found if isinstance(found, dict) else {}


def fingerprint(content: bytes) -> str:
    """Return a short hash by which an edited file is known."""
    return hashlib.sha256(content).hexdigest()[:16]


def _edited(path: Path, content: bytes, before: str | None) -> bool:
    """Return whether a file is neither what will be written nor what was."""
    return path.is_file() and fingerprint(path.read_bytes()) not in (fingerprint(content), before)


def _aside(path: Path) -> Path:
    """Return the first free name for a file that makes room."""
    names = [f"{path.name}.yours", *(f"{path.name}.yours{number}" for number in range(2, 10_000))]
    return next(free for name in names if not (free := path.with_name(name)).exists())


def _write(path: Path, content: bytes) -> None:
    with cache.atomic_path(path) as part:
        part.write_bytes(content)
        part.chmod(0o644)
