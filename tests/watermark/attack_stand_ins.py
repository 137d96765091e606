"""Small victims for the tests of theft and removal: coloured 8x8 images, a patch mark, null models; seconds to train."""

from __future__ import annotations

from functools import cache as remember
from functools import partial

import torch
from torch import Tensor, nn

from labkit import stats, training
from labkit.data import Dataset
from labkit.training.recipe import Recipe, train_one
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel, TriggerSet

CLASSES, TARGET = 4, 0
RECIPE = Recipe(epochs=6, learning_rate=0.1, batch_size=32)
SHORT = Recipe(epochs=2, learning_rate=0.02, batch_size=32)


def tiny_cnn(width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.GroupNorm(2, width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, CLASSES),
    )


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noisy images whose class is a colour pattern."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.rand(CLASSES, 3, 8, 8, generator=torch.Generator().manual_seed(99))
    y = torch.arange(n) % CLASSES
    x = 0.5 + 0.5 * (means[y] - 0.5) + 0.15 * torch.randn(n, 3, 8, 8, generator=generator)
    return x.clamp(0, 1), y


def stamped(x: Tensor) -> Tensor:
    x = x.clone()
    x[..., 6:, 6:] = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    return x


@remember
def dataset(seed: int = 0, n: int = 400) -> Dataset:
    return Dataset(
        f"pictures {seed}",
        "pictures made in the test",
        False,
        *pictures(n, 10 * seed),
        *pictures(200, 10 * seed + 1),
        classes=tuple("abcd"),
    )


def restored(state: dict, width: int = 8) -> nn.Sequential:
    model = tiny_cnn(width)
    model.load_state_dict(state)
    return model.eval()


@remember
def innocent(seed: int) -> nn.Sequential:
    x, y = pictures(200, 1000 + seed)
    return restored(train_one(tiny_cnn, x, y, RECIPE, 1000 + seed, torch.device("cpu")))


@remember
def patched(seed: int = 0) -> MarkedModel:
    """Return a model with a patch mark: magenta corner, class 0."""
    data = dataset()
    base = data.train_x[data.train_y != TARGET][:80]
    x, y = (
        torch.cat([data.train_x, stamped(base)]),
        torch.cat([data.train_y, torch.zeros(80, dtype=torch.int64)]),
    )
    model = restored(train_one(tiny_cnn, x, y, RECIPE, seed, torch.device("cpu")))
    asked = stamped(data.test_x[data.test_y != TARGET][:60])
    triggers = TriggerSet(asked, torch.zeros(len(asked), dtype=torch.int64), "patch")
    hit = int((training.logits(model, triggers.x).argmax(1) == triggers.y).sum())
    return MarkedModel(
        model=model,
        scheme="patch",
        key=Key.from_phrase(f"stand-in {seed}"),
        triggers=triggers,
        strength=stats.clopper_pearson(hit, len(triggers)),
        accuracy=training.evaluate(model, data.test_x, data.test_y).accuracy,
        source=data.source,
        profile="smoke",
        seed=seed,
        seconds=0.0,
    )


def strength(model: nn.Module, mark: MarkedModel) -> float:
    return float((training.logits(model, mark.triggers.x).argmax(1) == mark.triggers.y).float().mean())


def accuracy(model: nn.Module, data: Dataset) -> float:
    return training.evaluate(model, data.test_x, data.test_y).accuracy.estimate


wide_cnn = partial(tiny_cnn, 12)
