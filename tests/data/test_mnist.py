"""MNIST's IDX files: every place and form, and what is said about a broken one."""

import gzip

import numpy as np
import pytest
import torch

from labkit import data
from labkit.data.formats import mnist as idx


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("compress", [True, False])
def test_each_drop_in_form(tmp_path, monkeypatch, tiny_mnist, folder, compress):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    tiny_mnist(tmp_path / folder, compress=compress)
    mnist = data.load("mnist")
    assert mnist.train_x.shape == (40, 1, 28, 28)
    assert mnist.train_x.dtype == torch.float32
    assert 0 <= float(mnist.train_x.min()) < float(mnist.train_x.max()) == 1
    expected = np.random.default_rng(len("train-labels-idx1-ubyte")).integers(0, 10, 40, dtype=np.uint8)
    assert mnist.train_y.tolist() == expected.tolist()
    assert len(mnist.test_y) == 10
    again = data.load("mnist")
    assert again.digest == mnist.digest
    assert torch.equal(again.train_x, mnist.train_x)


def test_dots_in_place_of_hyphens(tmp_path, monkeypatch, tiny_mnist):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    tiny_mnist(tmp_path, compress=False)
    for path in tmp_path.glob("*-ubyte"):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert data.load("mnist").real


def break_images(folder, how):
    path = folder / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    if how == "truncated gz":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "not a gz":
        path.write_bytes(b"<html>404</html>")
    elif how == "magic":
        path.write_bytes(gzip.compress((2049).to_bytes(4, "big") + content[4:]))
    elif how == "size":
        path.write_bytes(gzip.compress(content[:-784]))
    elif how == "one bit":
        path.write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))
    elif how == "empty":
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("truncated gz", "truncated or damaged: expected 31,376 bytes, SHA-256 .* found .* compressed bytes"),
        ("not a gz", "truncated or damaged"),
        ("magic", "is not train-images-idx3-ubyte: expected magic number 2051; found 2049"),
        ("size", "wrong size: expected 31,376 bytes, .*; found 30,592 bytes"),
        ("one bit", "is not MNIST's train-images-idx3-ubyte: .* found the same size, SHA-256"),
        ("empty", "found 0"),
    ],
)
def test_a_broken_file_names_itself_and_the_fix(tmp_path, monkeypatch, tiny_mnist, how, says):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    path = break_images(tiny_mnist(tmp_path / "mnist"), how)
    with pytest.raises(data.DataError, match=says) as caught:
        data.load("mnist")
    assert str(path) in str(caught.value)
    assert "Delete it" in str(caught.value)


def test_an_incomplete_set_names_what_is_missing(tmp_path, monkeypatch, tiny_mnist):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    (tiny_mnist(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(data.DataError, match=r"not complete: t10k-labels-idx1-ubyte missing"):
        data.load("mnist")


def test_the_published_sizes():
    assert [part.size for part in idx.PARTS] == [47_040_016, 60_008, 7_840_016, 10_008]
