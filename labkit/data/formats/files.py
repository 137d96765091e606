"""What all file formats share: the set of files found, hashing, and errors that name the fix."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.data.errors import DataError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Files:
    """Files found on disk: in which form, where, and how a title names them."""

    form: str
    paths: tuple[Path, ...]
    title: str

    @property
    def path(self) -> Path:
        """The file, or the folder that holds the files."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """Path, size and time of change of each file: differs when a file was replaced, added or deleted."""
        # A folder's own time of change tells nothing of the files in its subfolders.
        found = [each for path in self.paths for each in (_below(path) if path.is_dir() else [path])]
        stats = [(path.resolve(), path.stat()) for path in found]
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _below(folder: Path) -> list[Path]:
    """Return all files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Format(ABC):
    """How one data set lies on disk.

    ``find`` is quick, ``verify`` reads the files without decoding them, ``decode`` returns uint8 arrays
    ``train_x [n, C, H, W]``, ``train_y [n]``, ``test_x``, ``test_y``.
    """

    title: str
    classes: tuple[str, ...]

    @abstractmethod
    def find(self, root: Path) -> Files | None:
        """Return the data set's files below ``root``, or None; raise DataError if some are missing."""

    @abstractmethod
    def verify(self, files: Files) -> tuple[bool, str]:
        """Return whether the content is the known one, and a sentence; raise DataError if it is corrupt."""

    @abstractmethod
    def decode(self, files: Files) -> dict[str, np.ndarray]:
        """Return the arrays; raise DataError if a file is corrupt."""


def file_hash(path: Path, algorithm: str) -> str:
    """Return the hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def corrupt(path: Path | str, what: str, expected: str, found: str) -> DataError:
    """Return the error for a damaged file: its name, what was expected and found, and the fix."""
    return DataError(
        f"{path} {what}: expected {expected}; found {found}. "
        f"Delete it and copy it anew (or let labkit download it again: see data/README.md)"
    )
