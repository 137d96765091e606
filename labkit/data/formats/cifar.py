"""CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009) in each form it comes in.

The canonical pixels are the Python batches, as a folder or in their tar.gz, recognised by the MD5 sums that the
authors and torchvision publish (SHA-256 for the archive). A folder or zip of class folders of images is taken too.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.data.errors import DataError
from labkit.data.formats.files import Files, Format, corrupt, file_hash

if TYPE_CHECKING:
    import numpy as np

BATCHES = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
JPEG_ZIP_SHA256 = "5eedfc54e434a774d5a2d957065729b74d1812d1ce7c6ebf40b128a1d83837a5"
FOLDERS = (".", "cifar10", "cifar-10")
IMAGES = "cifar10-images"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class Cifar10(Format):
    """Python batches (folder or tar.gz), else class folders of images (folder or zip)."""

    title = "CIFAR-10"
    classes = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )

    def find(self, root: Path) -> Files | None:
        for folder in (root / name for name in FOLDERS):
            if (folder / BATCHES).is_dir():
                return Files("batches", _batches(folder / BATCHES), self.title)
            if (folder / ARCHIVE).is_file():
                return Files("tar", (folder / ARCHIVE,), self.title)
        for folder in (root / name for name in FOLDERS):
            if (folder / f"{IMAGES}.zip").is_file():
                return Files("zip", (folder / f"{IMAGES}.zip",), f"{self.title} (image copy)")
        for folder in (root / IMAGES, root / "cifar10", root / "cifar-10"):
            if (folder / "train").is_dir() and (folder / "test").is_dir():
                return Files("folder", (folder,), f"{self.title} (image copy)")
        return None

    def verify(self, files: Files) -> tuple[bool, str]:
        if files.form == "batches":
            for path in files.paths:
                _check_md5(path, path.read_bytes(), path.name)
            return True, "MD5 of all six batches as published"
        if files.form == "folder":
            return False, "a folder of images: nothing published to verify it against"
        if files.form == "tar":
            if file_hash(files.path, "sha256") == ARCHIVE_SHA256:
                return True, "SHA-256 of the archive as published"
            return False, "not the published archive: its batches are verified when loaded"
        if file_hash(files.path, "sha256") == JPEG_ZIP_SHA256:
            return True, "SHA-256 of the known JPEG copy (40,000 train, 10,000 test)"
        if not zipfile.is_zipfile(files.path):
            raise _not_a_zip(files.path)
        return False, "a zip of images: nothing published to verify it against"

    def decode(self, files: Files) -> dict[str, np.ndarray]:
        if files.form == "batches":
            return _join({path.name: _check_md5(path, path.read_bytes(), path.name) for path in files.paths})
        if files.form == "tar":
            return _join(_from_tar(files.path))
        if files.form == "zip":
            return _from_zip(files.path, self.classes)
        return _from_folder(files.path, self.classes)


def _batches(folder: Path) -> tuple[Path, ...]:
    """Return the six batch files."""
    missing = [name for name in BATCH_MD5 if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is not complete: {', '.join(missing)} missing. Add them, or delete the folder"
        )
    return tuple(folder / name for name in BATCH_MD5)


def _check_md5(where: Path | str, content: bytes, name: str) -> bytes:
    """Return ``content`` if it is the published batch ``name``."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != BATCH_MD5[name]:
        raise corrupt(where, "is damaged", f"MD5 {BATCH_MD5[name]}", f"{found}, {len(content):,} bytes")
    return content


def _from_tar(path: Path) -> dict[str, bytes]:
    """Return the six batches of the archive, read in memory: nothing is unpacked to disk."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in BATCH_MD5 and member.isfile():
                    content = archive.extractfile(member).read()  # type: ignore[union-attr]
                    found[name] = _check_md5(f"{path}/{member.name}", content, name)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        size = f"{path.stat().st_size:,} bytes that do not unpack ({error})"
        raise corrupt(path, "is truncated or damaged", f"SHA-256 {ARCHIVE_SHA256[:16]}...", size) from error
    missing = sorted(set(BATCH_MD5) - set(found))
    if missing:
        raise corrupt(path, "is not complete", "six batches", f"no {', '.join(missing)}")
    return found


class _BatchUnpickler(pickle.Unpickler):
    """Reads the arrays of a batch and nothing else.

    A pickle can call any function it names. The batches need four names to rebuild a NumPy array, so only those
    resolve: a file that passes as a batch but holds other code stops here instead of running it.
    """

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[0] == "numpy" and name in self.ALLOWED) or (module, name) == (
            "_codecs",
            "encode",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a CIFAR-10 batch has no use for {module}.{name}")


def _unpickle(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images ``[n, 3, 32, 32]`` and labels ``[n]`` of one batch, both uint8."""
    import numpy as np

    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return images, np.asarray(batch[b"labels"], np.uint8)
    except (pickle.UnpicklingError, KeyError, ValueError, TypeError, EOFError) as error:
        raise DataError(f"{name} is not a CIFAR-10 batch ({error}). Delete it and copy it anew") from error


def _join(batches: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Return the arrays of the five train batches and the test batch."""
    import numpy as np

    parts = {name: _unpickle(batches[name], name) for name in BATCH_MD5}
    train = [parts[name] for name in BATCH_MD5 if name != "test_batch"]
    test_x, test_y = parts["test_batch"]
    return {
        "train_x": np.concatenate([x for x, _ in train]),
        "train_y": np.concatenate([y for _, y in train]),
        "test_x": test_x,
        "test_y": test_y,
    }


def _not_a_zip(path: Path) -> DataError:
    """Return the error for a zip whose directory, at its end, is missing or damaged."""
    return corrupt(
        path,
        "is truncated or not a zip",
        "a zip of train/<class>/*.jpg and test/<class>/*.jpg",
        f"{path.stat().st_size:,} bytes without a readable directory",
    )


def _from_zip(path: Path, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of a zip of class folders."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(SUFFIXES)]
            return _images(path, names, archive.read, classes)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise (
            _not_a_zip(path)
            if "CRC" not in str(error)
            else corrupt(path, "is damaged", "intact members", str(error))
        ) from error


def _from_folder(path: Path, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of a folder of class folders."""
    files = [p for p in sorted(path.glob("*/*/*")) if p.suffix.lower() in SUFFIXES]
    names = [p.relative_to(path).as_posix() for p in files]
    return _images(path, names, lambda name: (path / name).read_bytes(), classes)


def _images(
    where: Path, names: list[str], read: Callable[[str], bytes], classes: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Decode ``.../<part>/<class>/<file>``, classes interleaved, so that no run of records shares one label."""
    import numpy as np

    from labkit.progress import track

    queues: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        queues.setdefault(tuple(name.split("/")[-3:-1]), []).append(name)  # type: ignore[arg-type]
    wanted = {(part, label) for part in ("train", "test") for label in classes}
    if set(queues) != wanted:
        strange = sorted("/".join(key) for key in set(queues) ^ wanted)
        raise DataError(
            f"{where}: expected train/<class> and test/<class> for the classes {', '.join(classes)}; "
            f"missing or unexpected: {', '.join(strange[:5])}{' ...' if len(strange) > 5 else ''}"
        )
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        rows = list(_interleave({label: queues[part, label] for label in classes}))
        x = np.empty((len(rows), 3, 32, 32), np.uint8)
        y = np.empty(len(rows), np.uint8)
        for i, (name, label) in enumerate(track(rows, f"decoding {part} images of {where.name}")):
            x[i] = _image(f"{where}/{name}", read(name))
            y[i] = classes.index(label)
        arrays |= {f"{part}_x": x, f"{part}_y": y}
    return arrays


def _interleave(queues: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield (name, class): the first of each class, then the second of each, and so on."""
    for i in range(max(map(len, queues.values()))):
        for label, queue in queues.items():
            if i < len(queue):
                yield queue[i], label


def _image(where: str, content: bytes) -> np.ndarray:
    """Return one image as uint8 ``[3, 32, 32]``."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.size != (32, 32):
                width, height = image.size
                raise corrupt(
                    where, "has the wrong size", "an image of 32 x 32 pixels", f"{width} x {height}"
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError) as error:
        raise corrupt(where, "is damaged", "a readable image", f"{len(content):,} bytes ({error})") from error
