"""Who is sooner at the accuracy of Opacus's stock MNIST loop, at the same ε: that loop, or ours?"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from labkit import models, progress, training

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
# Ours, chosen on a validation split of MNIST's train records; the noise is calibrated to the stock loop's ε.
OURS = {
    "expected_batch_size": 6000,
    "steps": 60,
    "max_grad_norm": 1.0,
    "learning_rate": 4.0,
    "schedule": "linear",
}


@dataclass(frozen=True)
class Race:
    """One loop's way to an accuracy.

    Attributes
    ----------
    loop : str
    seconds : float
        All it took: features, noise calibration and training; not the measurement of accuracy.
    accuracy, epsilon : float
        At the end; ε by PLD, at δ = 1e-5.
    source : str
    """

    loop: str
    seconds: float
    accuracy: float
    epsilon: float
    source: str


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


def stock_race(dataset: Dataset, *, epochs: int, seed: int = 0) -> Race:
    """Train as Opacus's MNIST example does: DataLoader, hooks, the settings of `STOCK`."""
    from opacus import PrivacyEngine

    from labkit.dp.accounting import SampledGaussian, privacy_statement

    model = models.small_cnn("relu", seed=seed)[1:]  # without our own normalisation: its transforms do that
    start = time.perf_counter()
    torch.manual_seed(seed)
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


def our_race(dataset: Dataset, epsilon: float, *, kind: str, seed: int, loop: str) -> Race:
    """Train softmax regression on fixed features to ``epsilon``; the time includes the features."""
    from labkit.dp.features import features
    from labkit.dp.sgd import train_private

    start = time.perf_counter()
    vectors = features(dataset, kind)
    share = OURS["expected_batch_size"] / 60_000
    settings = OURS | {"expected_batch_size": share * len(dataset.train_x)}
    result = train_private(
        models.logistic_regression(vectors.train_x.shape[1], len(dataset.classes)),
        vectors,
        target_epsilon=epsilon,
        engine="linear",
        seed=seed,
        **settings,
    )
    seconds = time.perf_counter() - start
    return Race(loop, seconds, result.accuracy.estimate, result.privacy.epsilon, dataset.source)


def races(dataset: Dataset, *, epochs: int, kind: str, seeds: Sequence[int]) -> list[Race]:
    """Measure part (b): the stock loop, ours with nothing cached, then ours with cached features on each seed."""
    stock = stock_race(dataset, epochs=epochs)
    kept = os.environ.get("LABKIT_CACHE")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["LABKIT_CACHE"] = empty
        try:
            first = our_race(dataset, stock.epsilon, kind=kind, seed=seeds[0], loop="ours, first time")
            again = [
                our_race(
                    dataset, stock.epsilon, kind=kind, seed=seed, loop=f"ours, cached features, seed {seed}"
                )
                for seed in seeds
            ]
        finally:
            if kept is None:
                del os.environ["LABKIT_CACHE"]
            else:
                os.environ["LABKIT_CACHE"] = kept
    return [stock, first, *again]
