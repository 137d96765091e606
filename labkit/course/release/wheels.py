"""labkit's own wheel, as it is or without answers: built in a copy of the checkout, again only when something changed."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from labkit.course.notebooks.wheel import HOSPITALS, NEEDED
from labkit.course.release.answer_free import plain, seal

CHECKS = "labkit/course/checks/"
COURSE = "labkit/course/"
ALSO = ("pyproject.toml", "README.md", "LICENSE", *HOSPITALS)
LEFT_OUT = {"__pycache__", "bundle"}


class WheelError(RuntimeError):
    """The wheel cannot be built; the message holds the end of what pip said."""


def sources(root: Path, notebooks: Mapping[str, str]) -> dict[str, bytes]:
    """Return what a wheel is built from: relative path -> content, with these notebooks in place of the checkout's."""
    patterns = (
        "labkit/**/*",
        *ALSO,
        *(pattern for pattern in NEEDED if not pattern.startswith("notebooks/")),
    )
    paths = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    found = {
        name: path.read_bytes()
        for path in paths
        if not LEFT_OUT & set(Path(name := path.relative_to(root).as_posix()).parts)
    }
    return found | {f"notebooks/{name}.ipynb": text.encode() for name, text in notebooks.items()}


def without_answers(files: Mapping[str, bytes], answers: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files with each sealed that belongs to the checks, or repeats an answer elsewhere in the course.

    labkit's own functions stay readable, answers to exercises among them: their text is part of what results are cached
    by, and reading a library is no secret. `labkit.course.release.handing_out` lists them for the instructor.
    """
    return {
        name: seal(content.decode(), _module(name)).encode()
        if _gives_away(name, content, answers)
        else content
        for name, content in files.items()
    }


def _gives_away(name: str, content: bytes, answers: Mapping[str, str]) -> bool:
    if not name.startswith(COURSE) or not name.endswith(".py"):
        return False
    text = content.decode()
    if name.startswith(CHECKS) and ast.parse(text).body[1:]:
        return True
    bare = plain(text)
    return any(answer in bare for answer in answers.values())


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def digest(files: Mapping[str, bytes]) -> str:
    """Return a hash of all that a wheel is built from."""
    hasher = hashlib.sha256()
    for name, content in sorted(files.items()):
        hasher.update(f"{name}\x00{len(content)}\x00".encode() + content)
    return hasher.hexdigest()[:16]


def build(files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Return name and content of the wheel that is made from these files.

    Raises
    ------
    WheelError
        If pip cannot build it.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-wheel-") as temporary:
        tree, out = Path(temporary) / "tree", Path(temporary) / "out"
        for name, content in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out)]
        # With setuptools at hand nothing is fetched: a classroom's server may have no network.
        command += ["--no-build-isolation"] if _has_setuptools() else []
        # A fixed moment: the same files make the same wheel.
        done = subprocess.run(
            [*command, str(tree)],
            capture_output=True,
            text=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        )
        if done.returncode != 0:
            raise WheelError(f"pip could not build the wheel: {(done.stdout + done.stderr).strip()[-800:]}")
        (wheel,) = out.glob("labkit-*.whl")
        return wheel.name, wheel.read_bytes()


def _has_setuptools() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return int(version("setuptools").partition(".")[0]) >= 77  # as pyproject.toml asks for
    except PackageNotFoundError:
        return False
