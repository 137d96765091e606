"""A task that a tiny network learns in a second, and a cache of the session's own."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from labkit import data, models
from labkit.data import Dataset
from labkit.scenarios import owner_and_thief
from labkit.training.recipe import Recipe
from labkit.watermark import Key

SIDE, CLASSES = 16, 4


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Sums split over threads round differently, and a short training can end elsewhere: one thread repeats itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))


def _images(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noise under a coloured bar, whose place and colour are the class's."""
    y = torch.arange(count) % CLASSES
    x = 0.35 + 0.3 * torch.rand(count, 3, SIDE, SIDE, generator=generator)
    for label in range(CLASSES):
        x[y == label, label % 3, 4 * label : 4 * label + 3] += 0.25
    return x.clamp(0, 1), y


@pytest.fixture(scope="session")
def bars() -> Dataset:
    """Four classes of 16x16 images, 400 train and 200 test records."""
    generator = torch.Generator().manual_seed(0)
    return Dataset(
        "bars",
        "bars (made in the test)",
        False,
        *_images(400, generator),
        *_images(200, generator),
        tuple("abcd"),
    )


@pytest.fixture
def small():
    """Return a maker of small untrained networks for `bars`."""
    return partial(models.fast_cnn, 8, classes=CLASSES, seed=0)


@pytest.fixture
def short() -> Recipe:
    return Recipe(epochs=6, learning_rate=0.1, batch_size=20)


@pytest.fixture
def key() -> Key:
    return Key.from_phrase("a key for tests")


@pytest.fixture(scope="session")
def noise() -> Dataset:
    """Records of CIFAR-10's shape, as many as the smoke profile wants, with nothing in them."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(count, 3, 32, 32, generator=generator) for count in (1300, 500)]
    labels = [torch.arange(count) % 10 for count in (1300, 500)]
    return Dataset(
        "cifar10", "noise, a stand-in", False, images[0], labels[0], images[1], labels[1], tuple("abcdefghij")
    )


@pytest.fixture
def setup(noise, monkeypatch) -> owner_and_thief.Project:
    """A project small enough for a test: 200 records of the owner, two epochs."""
    monkeypatch.setattr(data, "load", lambda *_, **__: noise)
    whole = owner_and_thief.project()
    owner = dataclasses.replace(
        whole.owner,
        train_x=whole.owner.train_x[:200],
        train_y=whole.owner.train_y[:200],
        test_x=whole.owner.test_x[:200],
        test_y=whole.owner.test_y[:200],
        digest="",
    )
    return dataclasses.replace(
        whole,
        owner=owner,
        thief_x=whole.thief_x[:120],
        thief_y=whole.thief_y[:120],
        recipe=Recipe(epochs=1, learning_rate=0.1, batch_size=50),
        budgets=(60, 120),
        null_count=2,
    )
