"""CIFAR-10 in its four forms, and what is said about a broken one."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch

from labkit import data
from labkit.data.formats import cifar


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))


def write_tar(path, folder):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)


def test_batches_and_their_tar_hold_the_same(tmp_path, tiny_batches):
    folder = tiny_batches(tmp_path / "cifar10")
    from_folder = data.load("cifar10")
    assert from_folder.source == "CIFAR-10"
    assert from_folder.train_x.shape == (50, 3, 32, 32)
    first = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)[0].reshape(3, 32, 32)
    assert torch.equal((from_folder.train_x[0] * 255).round().byte(), torch.from_numpy(first))
    write_tar(tmp_path / cifar.ARCHIVE, folder)
    found = data.locate("cifar10")
    assert found.path == tmp_path / cifar.ARCHIVE
    assert not found.verified  # not the published archive, though its batches are verified
    assert data.load("cifar10").digest == from_folder.digest


def test_batches_win_over_an_image_copy(tmp_path, tiny_batches, image_zip):
    tree, write_zip, _ = image_zip
    write_zip(tmp_path / "cifar10-images.zip", tree())
    assert data.load("cifar10").source == "CIFAR-10 (JPEG copy, 20 train)"
    tiny_batches(tmp_path)
    assert data.load("cifar10").source == "CIFAR-10"


def test_zip_and_folder_of_images_hold_the_same_interleaved(tmp_path, image_zip):
    tree, write_zip, _ = image_zip
    zipped = write_zip(tmp_path / "cifar10-images.zip", tree())
    from_zip = data.load("cifar10")
    assert from_zip.train_y.tolist() == [*range(10), *range(10)]
    zipped.unlink()
    for name, content in tree().items():
        path = tmp_path / "cifar10-images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert data.load("cifar10").digest == from_zip.digest
    assert not data.locate("cifar10").verified


def test_an_image_of_the_wrong_size_is_named(tmp_path, image_zip):
    tree, write_zip, jpeg = image_zip
    write_zip(tmp_path / "cifar10-images.zip", tree() | {"train/cat/0001.jpg": jpeg(side=31)})
    with pytest.raises(data.DataError, match=r"train/cat/0001.jpg has the wrong size: .*; found 31 x 31"):
        data.load("cifar10")


def test_an_image_that_is_none_is_named(tmp_path, image_zip):
    tree, write_zip, jpeg = image_zip
    write_zip(tmp_path / "cifar10-images.zip", tree() | {"test/dog/0000.jpg": jpeg()[:80]})
    with pytest.raises(data.DataError, match=r"test/dog/0000.jpg is damaged: .*80 bytes"):
        data.load("cifar10")


def test_a_missing_class_is_named(tmp_path, image_zip):
    tree, write_zip, _ = image_zip
    kept = {name: content for name, content in tree().items() if "test/frog" not in name}
    write_zip(tmp_path / "cifar10-images.zip", kept)
    with pytest.raises(data.DataError, match="missing or unexpected: test/frog"):
        data.load("cifar10")


def test_a_truncated_zip_and_a_flipped_byte_are_told_apart(tmp_path, image_zip):
    tree, write_zip, _ = image_zip
    path = write_zip(tmp_path / "cifar10-images.zip", tree())
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    with pytest.raises(data.DataError, match="truncated or not a zip"):
        data.load("cifar10")
    assert data.locate("cifar10").kind == "corrupt"
    middle = whole.index(b"\xff\xd8") + 200  # inside the first JPEG, which a zip stores as it is here
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(data.DataError, match="is damaged: expected intact members; found Bad CRC"):
        data.load("cifar10")


def test_damaged_and_missing_batches_are_named(tmp_path, tiny_batches):
    folder = tiny_batches(tmp_path)
    (folder / "data_batch_3").write_bytes((folder / "data_batch_3").read_bytes()[:-1])
    with pytest.raises(data.DataError, match=r"data_batch_3 is damaged: expected MD5 .*; found .* bytes"):
        data.load("cifar10")
    (folder / "data_batch_3").unlink()
    with pytest.raises(data.DataError, match="not complete: data_batch_3 missing"):
        data.load("cifar10")


def test_a_truncated_tar_is_named(tmp_path, tiny_batches):
    write_tar(tmp_path / cifar.ARCHIVE, tiny_batches(tmp_path / "elsewhere"))
    path = tmp_path / cifar.ARCHIVE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(data.DataError, match=f"{cifar.ARCHIVE} is truncated or damaged"):
        data.load("cifar10")


class Bomb:
    """A pickle that runs a command when a plain unpickler reads it."""

    def __reduce__(self):
        return os.system, ("echo exploded",)


def test_a_batch_cannot_run_code(capfd):
    with pytest.raises(data.DataError, match=r"no use for (posix|nt)\.system"):
        cifar._unpickle(pickle.dumps({b"data": Bomb(), b"labels": []}, protocol=2), "data_batch_1")
    with pytest.raises(data.DataError, match=r"no use for numpy\S*\.load"):
        cifar._unpickle(pickle.dumps({b"data": np.load, b"labels": []}, protocol=2), "data_batch_1")
    assert "exploded" not in capfd.readouterr().out


def test_medmnist_joins_train_and_validation(tmp_path, monkeypatch):
    from labkit.data import sources
    from labkit.data.formats import medmnist

    parts = {}
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        parts[f"{part}_images"] = np.full((count, 28, 28, 3), count, np.uint8)
        parts[f"{part}_labels"] = np.zeros((count, 1), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **parts)
    (tmp_path / "pathmnist.npz").write_bytes(buffer.getvalue())
    with pytest.raises(data.DataError, match="is not PathMNIST at 28x28"):
        data.load("pathmnist")
    import hashlib

    md5 = hashlib.md5(buffer.getvalue()).hexdigest()
    form = medmnist.MedMnist("pathmnist.npz", "PathMNIST", md5, medmnist.PATH_CLASSES)
    monkeypatch.setitem(sources.FORMATS, "pathmnist", form)
    loaded = data.load("pathmnist")
    assert (loaded.train_x.shape, len(loaded.test_y)) == ((8, 3, 28, 28), 3)
    assert loaded.source == "PathMNIST"
