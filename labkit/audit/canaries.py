"""Canaries: records (or gradients) made to be noticed, and the coin flips that decide which ones train."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from labkit.data import Dataset

KINDS = ("mislabelled", "out-of-distribution")
DIRECTIONS = ("dirac", "random")


def generator(purpose: str, seed: int) -> torch.Generator:
    """Return a generator of its own for each purpose, so that no two draws of an audit share their randomness."""
    key = hashlib.sha256(f"labkit audit {purpose} {seed}".encode()).digest()[:8]
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)


def flip_coins(count: int, seed: int) -> Tensor:
    """Return ``count`` fair coins as a bool tensor: true for the canaries that train. The seed is the whole record."""
    return torch.rand(count, generator=generator("coins", seed)) < 0.5


@dataclass(frozen=True)
class Canaries:
    """Record canaries, and the data set without them.

    Attributes
    ----------
    x, y : Tensor
        The canaries, shapes (m, ...) and (m,).
    base : Dataset
        All other records; its train set shares none with the canaries.
    included : Tensor of shape (m,), bool
        The coins. Whoever guesses must not see them.
    kind : str
    seed : int
        Reproduces choice, labels and coins.
    """

    x: Tensor
    y: Tensor
    base: Dataset
    included: Tensor
    kind: str
    seed: int

    def inserted(self) -> Dataset:
        """Return the data set to train on: the base and every canary whose coin said so."""
        return replace(
            self.base,
            train_x=torch.cat([self.base.train_x, self.x[self.included]]),
            train_y=torch.cat([self.base.train_y, self.y[self.included]]),
            source=f"{self.base.source}, with {int(self.included.sum()):,} {self.kind} canaries",
            digest="",  # of the records themselves: what is cached for them must not outlive how they are made
        )


def insert(dataset: Dataset, count: int = 1000, *, kind: str = "mislabelled", seed: int = 0) -> Canaries:
    """Make ``count`` canaries for a data set and flip their coins.

    Parameters
    ----------
    dataset : Dataset
    count : int
        Coins, of which about half come up "in".
    kind : {"mislabelled", "out-of-distribution"}
        Train records taken out of the data set and given a wrong label at random; or noise, uniform over the range of
        each coordinate, with a label at random (the data set then keeps all its records).
    seed : int

    Raises
    ------
    ValueError
        If the kind is unknown, or there are not enough records to mislabel.
    """
    if kind not in KINDS:
        raise ValueError(f"canary kind {kind!r} is unknown; expected one of {', '.join(KINDS)}")
    classes, draw = len(dataset.classes), generator(f"canaries {kind}", seed)
    if kind == "mislabelled":
        if not 0 < count < len(dataset.train_y):
            raise ValueError(
                f"asked to mislabel {count:,} of {len(dataset.train_y):,} train records; expected fewer, at least 1"
            )
        order = torch.randperm(len(dataset.train_y), generator=draw)
        chosen, kept = order[:count], order[count:]
        x, truth = dataset.train_x[chosen], dataset.train_y[chosen]
        y = (truth + torch.randint(1, classes, (count,), generator=draw)) % classes
        base = replace(dataset, train_x=dataset.train_x[kept], train_y=dataset.train_y[kept], digest="")
    else:
        if count < 1:
            raise ValueError(f"asked for {count} canaries; expected at least 1")
        low, high = dataset.train_x.amin(0), dataset.train_x.amax(0)
        x = low + (high - low) * torch.rand(count, *dataset.shape, generator=draw)
        y, base = torch.randint(classes, (count,), generator=draw), dataset
    return Canaries(x, y, base, flip_coins(count, seed), kind, seed)


def gradient_canaries(
    dimension: int,
    count: int,
    *,
    norm: float,
    kind: str = "dirac",
    start: int = 0,
    seed: int = 0,
) -> Tensor:
    """Return gradients for white-box canaries, one a row, shape (count, dimension).

    Nasr et al., "Tight auditing of differentially private machine learning", arXiv 2302.07956, section 4: an adversary
    who may choose gradients chooses directions that the other records leave alone.

    Parameters
    ----------
    dimension : int
        Number of trainable parameters.
    norm : float
        Length of each gradient before clipping; well above ``max_grad_norm``, so that missing clipping shows.
    kind : {"dirac", "random"}
        One coordinate each, from ``start`` on (no two canaries interfere); or random directions (nearly orthogonal).

    Raises
    ------
    ValueError
        If the kind is unknown, or there are more Dirac canaries than coordinates.
    """
    if kind not in DIRECTIONS:
        raise ValueError(f"direction {kind!r} is unknown; expected one of {', '.join(DIRECTIONS)}")
    if kind == "random":
        rows = torch.randn(count, dimension, generator=generator("directions", seed))
        return norm * rows / rows.norm(dim=1, keepdim=True)
    if count < 1 or start < 0 or start + count > dimension:
        raise ValueError(
            f"{count} Dirac canaries from coordinate {start} on do not fit in {dimension} coordinates: each needs its own"
        )
    rows = torch.zeros(count, dimension)
    rows[torch.arange(count), start + torch.arange(count)] = norm
    return rows
