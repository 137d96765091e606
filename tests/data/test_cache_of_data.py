"""Decoded data on disk: whole or not at all, for one process and for two."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from labkit import data


@pytest.fixture
def copy(tmp_path, monkeypatch, image_zip):
    """A small image copy of CIFAR-10; returns the zip."""
    tree, write_zip, _ = image_zip
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    return write_zip(tmp_path / "cifar10-images.zip", tree())


def decoded(tmp_path):
    return [p for p in (tmp_path / "cache" / "decoded").iterdir() if p.is_file()]


def test_second_load_does_not_decode(tmp_path, monkeypatch, copy):
    from PIL import Image

    first = data.load("cifar10")
    monkeypatch.setattr(Image, "open", lambda *a: pytest.fail("decoded again"))
    second = data.load("cifar10")
    assert second.digest == first.digest
    assert torch.equal(second.test_x, first.test_x)
    with np.load(decoded(tmp_path)[0]) as kept:
        assert kept["train_x"].dtype == np.uint8


def test_a_replaced_file_is_decoded_anew(copy, image_zip):
    tree, write_zip, jpeg = image_zip
    first = data.load("cifar10")
    write_zip(copy, tree() | {"train/cat/0001.jpg": jpeg(colour=255)})
    os.utime(copy, ns=(1, 1))  # also where the clock is too coarse to tell
    assert data.load("cifar10").digest != first.digest


def test_a_folder_with_a_replaced_and_an_added_image_is_decoded_anew(tmp_path, monkeypatch, image_zip):
    tree, _, jpeg = image_zip
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    folder = tmp_path / "cifar10-images"
    for name, content in tree().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    first = data.load("cifar10")
    assert data.load("cifar10").digest == first.digest
    (folder / "train/cat/0001.jpg").write_bytes(jpeg(colour=255))
    os.utime(folder / "train/cat/0001.jpg", ns=(1, 1))  # also where the clock is too coarse to tell
    replaced = data.load("cifar10")
    assert replaced.digest != first.digest
    (folder / "train/cat/0002.jpg").write_bytes(jpeg())
    assert len(data.load("cifar10").train_y) == len(replaced.train_y) + 1


def test_the_fingerprint_of_plain_files_is_their_path_size_and_time(copy):
    from labkit.data.formats.files import Files

    stat = copy.stat()
    expected = [(str(copy.resolve()), stat.st_size, stat.st_mtime_ns)]
    assert Files("zip", (copy,), "title").fingerprint() == expected, "cached training hangs on it"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, copy, error):
    def interrupted(file, **arrays):
        file.write(b"PK half a file")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", interrupted)
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                data.load("cifar10")
        else:
            from labkit.data.errors import CacheWarning

            with pytest.warns(CacheWarning, match="disk full"):
                assert data.load("cifar10").real
    assert decoded(tmp_path) == []
    assert len(data.load("cifar10").train_y) == 20
    assert len(decoded(tmp_path)) == 1


def test_a_half_written_file_is_never_read(tmp_path, copy):
    first = data.load("cifar10")
    (path,) = decoded(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert data.load("cifar10").digest == first.digest
    with np.load(path) as whole:
        assert "digest" in whole.files


def test_two_processes_at_once(tmp_path, copy):
    script = "from labkit import data; d = data.load('cifar10'); print(d.digest, len(d.train_y))"
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers[0] == answers[1] != ""
    assert len(decoded(tmp_path)) == 1
