"""Who is sooner at the accuracy of Opacus's stock MNIST loop, at the same ε: that loop, or ours?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from labkit import cache, models, progress, training

if TYPE_CHECKING:
    from labkit.data import Dataset

# The settings of Opacus's examples/mnist_README.md, first row: sigma 1.3, C 1.5, learning rate .25, batch 240, 15 epochs.
STOCK = {
    "noise_multiplier": 1.3,
    "max_grad_norm": 1.5,
    "learning_rate": 0.25,
    "batch_size": 240,
    "epochs": 15,
}
# Ours: the tanh network, first taught synthetic digits, then the private ones. Chosen on held-out MNIST train records.
STROKES = {"count": 12_000, "epochs": 3, "learning_rate": 0.1}
PRIVATE = {
    "engine": "layers",
    "max_grad_norm": 0.1,
    "epochs": 2,
    "learning_rate": 2.0,
    "momentum": 0.9,
    "schedule": "linear",
}
SAMPLE_RATE = 1024 / 60_000
SEEDS = 3  # of ours; the stock loop, which takes most of the time, runs once


@dataclass(frozen=True)
class Race:
    """One loop's way to an accuracy.

    Attributes
    ----------
    loop : str
    seconds : float
        All it took: features or public training, noise calibration, private training, and for ours one or two passes over
        the test records. Nothing computed for an earlier race is used again, but for features where the name says so.
    accuracy, epsilon : float
        At the end; ε by PLD, at δ = 1e-5.
    source : str
    prior : float or None
        Accuracy at ε = 0: of the same model when it had seen synthetic records and no private one. None for a loop that
        knows nothing beforehand.
    """

    loop: str
    seconds: float
    accuracy: float
    epsilon: float
    source: str
    prior: float | None = None


class _Pictures(torch.utils.data.Dataset):
    """Records as torchvision's MNIST hands them out: a PIL image each, through transforms."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        from labkit.data import torchvision

        transforms = torchvision().transforms
        self.x, self.y = (255 * x).round().to(torch.uint8).squeeze(1), y.tolist()
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.x[i].numpy(), mode="L")), self.y[i]


def _forget() -> None:
    """Drop what accounting for an earlier race left in memory: each race pays for its own calibration."""
    from labkit.dp.accounting import accountants, calibration

    calibration._calibrate.cache_clear()
    accountants._pld.cache_clear()


def stock_race(dataset: Dataset, *, epochs: int, seed: int = 0) -> Race:
    """Train as Opacus's MNIST example does: DataLoader, hooks, the settings of `STOCK`."""
    from opacus import PrivacyEngine

    from labkit.dp.accounting.statement import SampledGaussian, privacy_statement

    model = models.small_cnn("relu", seed=seed)[1:]  # without our own normalisation: its transforms do that
    start = time.perf_counter()
    optimizer = torch.optim.SGD(model.parameters(), lr=STOCK["learning_rate"])
    loader = torch.utils.data.DataLoader(
        _Pictures(dataset.train_x, dataset.train_y), batch_size=STOCK["batch_size"]
    )
    private, optimizer, loader = PrivacyEngine().make_private(
        module=model,
        optimizer=optimizer,
        data_loader=loader,
        noise_multiplier=STOCK["noise_multiplier"],
        max_grad_norm=STOCK["max_grad_norm"],
    )
    with models.seeded(seed):  # Opacus draws batches and noise from the global state
        for _ in progress.track(range(epochs), "Opacus's stock loop"):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(private(x), y).backward()
                optimizer.step()
    seconds = time.perf_counter() - start
    measured = training.evaluate(private, (dataset.test_x - 0.1307) / 0.3081, dataset.test_y)
    event = SampledGaussian(STOCK["noise_multiplier"], epochs * len(loader), 1 / len(loader))
    epsilon = privacy_statement([event], n=len(dataset.train_x)).epsilon
    return Race("Opacus stock loop", seconds, measured.accuracy.estimate, epsilon, dataset.source)


def strokes_race(dataset: Dataset, epsilon: float, *, count: int, seed: int) -> Race:
    """Draw ``count`` synthetic digits, train the network on them, then privately on ``dataset``; nothing is cached."""
    from labkit import data
    from labkit.data import Dataset
    from labkit.dp.training.train_private import train_private

    _forget()
    start = time.perf_counter()
    x, y = data.strokes(count, seed=seed + 1000)  # no stand-in is drawn with these seeds
    held = count // 20
    public = Dataset("public", "strokes", False, x[held:], y[held:], x[:held], y[:held], tuple("0123456789"))
    model = models.small_cnn("tanh", seed=seed).to(memory_format=torch.channels_last)
    taught = training.fit(
        model, public, epochs=STROKES["epochs"], learning_rate=STROKES["learning_rate"], seed=seed
    )
    prior = training.evaluate(taught.model, dataset.test_x, dataset.test_y).accuracy.estimate
    result = train_private(
        taught.model,
        dataset,
        target_epsilon=epsilon,
        expected_batch_size=SAMPLE_RATE * len(dataset.train_x),
        seed=seed,
        **PRIVATE,
    )
    seconds = time.perf_counter() - start
    name = f"ours: network from synthetic digits, seed {seed}"
    return Race(name, seconds, result.accuracy.estimate, result.privacy.epsilon, dataset.source, prior)


def linear_race(dataset: Dataset, epsilon: float, *, kind: str | None, seed: int, loop: str) -> Race:
    """Run the linear pipeline; the time includes making its features, or reading them from the cache."""
    from labkit.dp.utility.features import features
    from labkit.dp.utility.linear_pipeline import linear_pipeline, linear_prior

    _forget()
    start = time.perf_counter()
    seen = features(dataset, kind)
    result = linear_pipeline(seen, target_epsilon=epsilon, seed=seed)
    seconds = time.perf_counter() - start
    prior = linear_prior(seen, seed=seed).accuracy.estimate
    return Race(loop, seconds, result.accuracy.estimate, result.privacy.epsilon, dataset.source, prior)


def races(dataset: Dataset, *, quick: bool) -> Iterator[Race]:
    """Yield the stock loop, run once, then ours on `SEEDS` seeds, from nothing and with cached features."""
    seeds = range(1 if quick else SEEDS)
    yield (stock := stock_race(dataset, epochs=1 if quick else STOCK["epochs"]))
    for seed in seeds:
        yield strokes_race(dataset, stock.epsilon, count=400 if quick else STROKES["count"], seed=seed)
    kind = "pixels" if quick else None
    with cache.disabled():
        name = "ours: linear on fixed features, first time"
        yield linear_race(dataset, stock.epsilon, kind=kind, seed=0, loop=name)
        for seed in seeds:
            name = f"ours: linear on cached features, seed {seed}"
            yield linear_race(dataset, stock.epsilon, kind=kind, seed=seed, loop=name)
