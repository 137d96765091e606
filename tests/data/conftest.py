"""Small data sets in every form, made in a temporary folder; no test here touches the network or the user's data."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit import cache
from labkit.data import download
from labkit.data.formats import cifar, mnist
from labkit.data.standins import digits, objects, tissues


@pytest.fixture(autouse=True)
def empty_machine(tmp_path, monkeypatch):
    """A checkout without data, an empty cache, no network, and stand-ins of a size that tests can wait for."""
    (tmp_path / "checkout" / "data").mkdir(parents=True)
    monkeypatch.setattr(cache, "checkout", lambda: tmp_path / "checkout")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_OFFLINE", "1")
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    monkeypatch.setattr(digits, "SIZES", (40, 10))
    monkeypatch.setattr(objects, "SIZES", (40, 10))
    monkeypatch.setattr(tissues, "SIZES", (40, 10))
    download._reachable.cache_clear()


def idx_bytes(part: mnist.Part) -> bytes:
    """An IDX file of ``part``'s shape; images and labels from a seed."""
    top = 10 if len(part.shape) == 1 else 256
    values = np.random.default_rng(len(part.file)).integers(0, top, part.shape, dtype=np.uint8)
    head = [part.magic, *part.shape]
    return b"".join(v.to_bytes(4, "big") for v in head) + values.tobytes()


@pytest.fixture
def tiny_mnist(monkeypatch):
    """Writes four small IDX files, and makes them the published ones for this test."""
    small = [replace(p, shape=(40 if "train" in p.file else 10, *p.shape[1:])) for p in mnist.PARTS]
    small = [replace(p, sha256=hashlib.sha256(idx_bytes(p)).hexdigest()) for p in small]
    monkeypatch.setattr(mnist, "PARTS", tuple(small))

    def write(folder: Path, *, compress: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for part in small:
            if compress:
                (folder / f"{part.file}.gz").write_bytes(gzip.compress(idx_bytes(part)))
            else:
                (folder / part.file).write_bytes(idx_bytes(part))
        return folder

    return write


@pytest.fixture
def tiny_batches(monkeypatch):
    """Writes six small CIFAR-10 batches, and makes them the published ones for this test."""
    contents = {}
    for seed, name in enumerate(cifar.BATCH_MD5):
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        contents[name] = pickle.dumps({b"data": images, b"labels": list(range(10))}, protocol=2)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(cifar, "BATCH_MD5", md5)

    def write(folder: Path) -> Path:
        (folder / cifar.BATCHES).mkdir(parents=True)
        for name, content in contents.items():
            (folder / cifar.BATCHES / name).write_bytes(content)
        return folder / cifar.BATCHES

    return write


def jpeg(side: int = 32, colour: int = 0) -> bytes:
    """A one-colour JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (colour, 100, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def image_tree(train: int = 2, test: int = 1) -> dict[str, bytes]:
    """Relative name and content of a CIFAR-10 copy as class folders."""
    return {
        f"{part}/{label}/{i:04d}.jpg": jpeg(colour=20 * index)
        for part, count in (("train", train), ("test", test))
        for index, label in enumerate(cifar.Cifar10.classes)
        for i in range(count)
    }


def write_zip(path: Path, tree: dict[str, bytes]) -> Path:
    """Write ``tree`` as a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tree.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def image_zip():
    """The helpers to write zips of class folders: ``(image_tree, write_zip, jpeg)``."""
    return image_tree, write_zip, jpeg
