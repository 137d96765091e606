"""Results on disk, keyed by what made them: settings, data and all code that ran."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from labkit import reach

T = TypeVar("T")

FULL = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "your quota of disk space is used up",
    errno.EFBIG: "the largest size that a file may have here was reached",
}


class CacheWarning(UserWarning):
    """A result could not be kept, so it will be made again next time."""


def checkout() -> Path | None:
    """Return the root of the repository this package runs from, or ``None`` for an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def directory() -> Path:
    """Return the folder for cached work: ``LABKIT_CACHE``, else ``data/cache`` of a checkout, else ``~/.cache/labkit``."""
    if os.environ.get("LABKIT_CACHE"):
        return Path(os.environ["LABKIT_CACHE"]).expanduser()
    root = checkout()
    if root:
        return root / "data" / "cache"
    try:
        return Path.home() / ".cache" / "labkit"
    except RuntimeError:  # a user that nobody named, as in a container
        return Path(tempfile.gettempdir()) / "labkit"


def _feed(hasher: hashlib._Hash, part: Any) -> None:
    """Feed one value to the hasher, with its type, so that 1, 1.0 and "1" differ."""
    hasher.update(type(part).__name__.encode() + b"(")
    if callable(part) or isinstance(part, ModuleType):
        _feed(hasher, [[name, meaning] for name, meaning in reach.reachable(part)])
    elif dataclasses.is_dataclass(part):
        _feed(hasher, {f.name: getattr(part, f.name) for f in dataclasses.fields(part)})
    elif isinstance(part, dict):
        for key in sorted(part, key=lambda key: str(key) if isinstance(key, reach.PLAIN) else digest(key)):
            _feed(hasher, key)
            _feed(hasher, part[key])
    elif isinstance(part, list | tuple):
        for item in part:
            _feed(hasher, item)
    elif isinstance(part, str | int | float | complex | bool | bytes | Path | None):
        hasher.update(part if isinstance(part, bytes) else str(part).encode())
    elif hasattr(part, "__array__"):
        import numpy as np

        part = part.detach().cpu() if hasattr(part, "detach") else part
        if str(getattr(part, "dtype", "")) == "torch.bfloat16":
            # NumPy does not know it, and float32 holds it exactly.
            hasher.update(b"bfloat16")
            part = part.float()
        array = np.ascontiguousarray(part)
        if array.dtype.hasobject:  # its bytes are addresses
            raise TypeError("cannot hash an array of objects: pass numbers or fixed-width text")
        hasher.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    else:
        raise TypeError(
            f"cannot hash a {type(part).__name__}: pass numbers, text, arrays, tensors or dataclasses"
        )
    hasher.update(b")")


def digest(*parts: Any) -> str:
    """Return a SHA-256 hex digest of nested plain values, arrays, tensors, dataclasses, functions and modules.

    Functions, classes, modules and whatever can be called count by all code that they reach (`labkit.reach`), comments
    and docstrings aside, so a cached result dies with the code that made it.

    Raises
    ------
    TypeError
        If a part is of a type whose content cannot be read reliably.
    """
    hasher = hashlib.sha256()
    for part in parts:
        _feed(hasher, part)
    return hasher.hexdigest()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes its place only when the block ends without an error.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; the message names the folder and the fix.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise OSError(
            f"cannot write in {path.parent} ({error.strerror}): {_other_place(path)} that can be written"
        ) from error
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        reason, fix = FULL[error.errno], f"free some space, or {_other_place(path)} on another disk"
        raise OSError(error.errno, f"{reason} while writing {path}: {fix}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _other_place(path: Path) -> str:
    """Return how to have a file written elsewhere: only what lies in the cache follows ``LABKIT_CACHE``."""
    inside = path.absolute().is_relative_to(directory().absolute())
    return "set LABKIT_CACHE to a folder" if inside else "choose a folder"


def save(value: Any, path: Path) -> None:
    """Write ``value`` as ``torch.save`` does, but through memory.

    Given a path, torch reports a full disk as an error of its own; written from here, it is the system's ``OSError``.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    path.write_bytes(buffer.getbuffer())


@contextmanager
def disabled() -> Iterator[None]:
    """Make all results anew inside the block, and keep none: the cache is an empty folder that goes with it.

    Examples
    --------
    >>> with disabled():
    ...     first = directory()
    >>> first.exists()
    False
    """
    before = os.environ.get("LABKIT_CACHE")
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as folder:
        os.environ["LABKIT_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["LABKIT_CACHE"]
            else:
                os.environ["LABKIT_CACHE"] = before


def _made(compute: Callable[[], T]) -> T:
    """Return the result of a computation that was not found: a place for tests to watch what runs."""
    return compute()


def cached(
    kind: str,
    settings: dict[str, Any],
    compute: Callable[[], T],
    *,
    code: Sequence[ModuleType | Callable[..., Any]] = (),
) -> T:
    """Return ``compute()``, or what an earlier call with the same settings and code saved.

    Parameters
    ----------
    kind : str
        Sub-folder and human-readable name of the result, for example ``"tradeoff"``.
    settings : dict
        Everything the result depends on: sizes, seeds, and the ``digest`` of the data.
    compute : callable
        Makes the result; it must survive ``torch.save``.
    code : sequence of functions, classes or modules
        What makes the result, beside ``compute`` itself: classes of what it holds. Each stands for all that it can reach
        (`labkit.reach`); a change to any of it makes the saved result stale.

    Warns
    -----
    CacheWarning
        If the result cannot be written; it is returned all the same.

    Notes
    -----
    Inside `disabled` everything is made anew. The cache is this user's own folder, so its pickles are trusted. A file that cannot be read is made again.
    """
    import torch

    text = [[name, meaning] for name, meaning in reach.body(compute)]
    path = directory() / kind / f"{digest(settings, list(code), text)[:32]}.pt"
    if path.is_file():
        try:
            return torch.load(path, weights_only=False)
        except Exception:  # an unreadable file (older library, broken disk) is as good as none
            path.unlink(missing_ok=True)
    result = _made(compute)
    try:
        with atomic_path(path) as temporary:
            save(result, temporary)
    except OSError as error:  # hours of work may be in it
        warnings.warn(f"the result for {kind!r} is not kept: {error}", CacheWarning, stacklevel=2)
    return result
