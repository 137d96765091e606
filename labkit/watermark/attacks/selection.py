"""Which records a thief asks about: where it is unsure, where it has not been, or what has nothing to do with the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from labkit.data import Dataset


def by_margin(beliefs: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Return ``count`` further positions where the thief's two best classes are closest.

    Parameters
    ----------
    beliefs : Tensor of shape (n, classes)
        The thief's probabilities.
    chosen : int64 Tensor
        Positions that were asked already.
    """
    best = beliefs.topk(2, dim=1).values
    margin = best[:, 0] - best[:, 1]
    margin[chosen] = float("inf")
    return margin.argsort(stable=True)[:count]


def by_k_centre(beliefs: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Return ``count`` further positions, each the farthest from all chosen before it (greedy k-centre)."""
    nearest = torch.full((len(beliefs),), float("inf"))
    for part in chosen.split(1000):
        nearest = torch.minimum(nearest, torch.cdist(beliefs, beliefs[part]).min(1).values)
    nearest[chosen] = -1
    found = []
    for _ in range(count):
        farthest = int(nearest.argmax())
        found.append(farthest)
        nearest = torch.minimum(nearest, (beliefs - beliefs[farthest]).norm(dim=1))
        nearest[farthest] = -1
    return torch.tensor(found, dtype=torch.int64)


def foreign_queries(dataset: Dataset, count: int, *, seed: int = 0) -> Tensor:
    """Return ``count`` images that are not of the data set's kind, (count, 3, 32, 32), for Knockoff-style theft.

    Objects drawn by code for real photographs; coloured digits on coloured ground where the data set is itself the
    stand-in of drawn objects.

    Raises
    ------
    ValueError
        If the records are not 3 x 32 x 32 images.
    """
    from labkit import data

    if dataset.shape != (3, 32, 32):
        raise ValueError(f"records of {dataset.name} have shape {dataset.shape}; expected (3, 32, 32)")
    if dataset.real:
        return data.objects(count, seed)[0]
    ink = torch.nn.functional.pad(data.strokes(count, seed)[0], (2, 2, 2, 2))
    colours = torch.rand(2, count, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
    return ink * colours[0] + (1 - ink) * colours[1]
