"""The real files, where LABKIT_DATA has them."""

import os
from pathlib import Path

import pytest

from labkit import data
from labkit.data.formats import mnist as idx

ROOT = os.environ.get("LABKIT_DATA")  # read before the fixture of this folder hides it
HAS_MNIST = bool(ROOT) and Path(ROOT).is_dir() and idx.Mnist().find(Path(ROOT)) is not None


@pytest.mark.skipif(not HAS_MNIST, reason="no real MNIST in LABKIT_DATA")
def test_mnist_is_the_published_one(monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(Path(ROOT).resolve()))
    assert data.locate("mnist").verified
    mnist = data.load("mnist", source="real")
    assert mnist.train_x.shape == (60_000, 1, 28, 28)
    assert mnist.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # the order everyone knows
    assert mnist.test_y[:5].tolist() == [7, 2, 1, 0, 4]
    assert mnist.train_y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
