"""MNIST from its four IDX files (LeCun, Cortes, Burges: "The MNIST database of handwritten digits").

An IDX file is a big-endian header (magic number, one 32-bit size per dimension) and the bytes. The known files are
recognised by the SHA-256 of their decompressed content: a gz wrapper can be made anew and still hold the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.data.errors import DataError
from labkit.data.formats.files import Files, Format, corrupt

if TYPE_CHECKING:
    import numpy as np

FOLDERS = (".", "mnist", "MNIST/raw", "mnist/MNIST/raw")


@dataclass(frozen=True)
class Part:
    """One of the four files: its name, header, and the SHA-256 of its decompressed content."""

    file: str
    magic: int
    shape: tuple[int, ...]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes, decompressed."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
PARTS = (
    Part("train-images-idx3-ubyte", 2051, (60_000, 28, 28), _SHA256[0]),
    Part("train-labels-idx1-ubyte", 2049, (60_000,), _SHA256[1]),
    Part("t10k-images-idx3-ubyte", 2051, (10_000, 28, 28), _SHA256[2]),
    Part("t10k-labels-idx1-ubyte", 2049, (10_000,), _SHA256[3]),
)


class Mnist(Format):
    """The four IDX files, gz or not, in the root, in ``mnist/`` or where torchvision puts them."""

    title = "MNIST"
    classes = tuple("0123456789")

    def find(self, root: Path) -> Files | None:
        for folder in FOLDERS:
            found = [_file(root / folder, part) for part in PARTS]
            if all(found):
                return Files("IDX files", tuple(path for path in found if path), self.title)
            if any(found):
                missing = [part.file for part, path in zip(PARTS, found, strict=True) if not path]
                raise DataError(
                    f"MNIST in {root / folder} is not complete: {', '.join(missing)} missing (.gz or not). "
                    "Add what is missing, or delete the others to have it looked for elsewhere"
                )
        return None

    def verify(self, files: Files) -> tuple[bool, str]:
        self.decode(files)
        return True, "SHA-256 of all four files as published"

    def decode(self, files: Files) -> dict[str, np.ndarray]:
        train_x, train_y, test_x, test_y = (read(p, part) for p, part in zip(files.paths, PARTS, strict=True))
        return {"train_x": train_x[:, None], "train_y": train_y, "test_x": test_x[:, None], "test_y": test_y}


def _file(folder: Path, part: Part) -> Path | None:
    """Return the plain or compressed file of ``part``; some copies have a dot for the second hyphen."""
    for name in (part.file, part.file.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def read(path: Path, part: Part) -> np.ndarray:
    """Return the array of one IDX file, after checking header, size and content.

    Parameters
    ----------
    path : Path
        Plain or gz.
    part : Part
        What the file must be.

    Returns
    -------
    ndarray of uint8, shape ``part.shape``

    Raises
    ------
    DataError
        With the file, what was expected, what was found, and the fix.
    """
    import numpy as np

    expected = f"{part.size:,} bytes, SHA-256 {part.sha256[:16]}..."
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            found = f"{len(content):,} compressed bytes that do not decompress ({error})"
            raise corrupt(path, "is truncated or damaged", expected, found) from error
    magic = int.from_bytes(content[:4], "big")
    if magic != part.magic:
        raise corrupt(path, f"is not {part.file}", f"magic number {part.magic}", f"{magic}")
    if len(content) != part.size:
        raise corrupt(path, "has the wrong size", expected, f"{len(content):,} bytes")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != part.sha256:
        raise corrupt(
            path, f"is not MNIST's {part.file}", expected, f"the same size, SHA-256 {sha256[:16]}..."
        )
    header = part.size - math.prod(part.shape)
    return np.frombuffer(bytearray(content), np.uint8, offset=header).reshape(
        part.shape
    )  # writable, for torch
