"""Which record goes to which hospital: shares drawn for each class, then records dealt out by them."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from labkit.data.dataset import Dataset

WAYS = ("label", "size", "site")
LEAST_TRAIN, LEAST_TEST = 8, 2  # records that every hospital of a split has
MOST_HOSPITALS = 26  # as many as the alphabet has names for
REDRAWS = 1_000


def check(count: int, by: str, alpha: float, seed: int) -> None:
    """Raise ValueError for a setting out of range, before any work."""
    _whole("count", count, 2, MOST_HOSPITALS)
    check_seed(seed)
    if by not in WAYS:
        raise ValueError(f"by is {by!r}; expected one of {', '.join(map(repr, WAYS))}")
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not math.isfinite(alpha) or alpha <= 0:
        raise ValueError(f"alpha is {alpha!r}; expected a number above 0, such as 0.5")


def check_seed(seed: int) -> None:
    """Raise ValueError for anything but a whole number that every generator here takes."""
    _whole("seed", seed, 0, 2**32 - 1)


def _whole(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; expected a whole number from {low} to {high}")


def rows(
    dataset: Dataset, count: int, by: str, alpha: float, rng: np.random.Generator
) -> tuple[dict[str, list[np.ndarray]], int]:
    """Return which records each hospital gets, and the number of the draw that was taken.

    Parameters
    ----------
    dataset : Dataset
    count, by, alpha
        As in :func:`labkit.federated.split`.
    rng : numpy Generator

    Returns
    -------
    rows : dict of str to list of array
        For ``"train"`` and ``"test"``, each hospital's records as sorted positions in the data set.
    draw : int
        1 unless an earlier draw left a hospital with too few records.
    """
    shares, draw = _shares(dataset, count, by, alpha, rng)
    return {part: _rows(_labels(dataset, part), shares, rng) for part in ("train", "test")}, draw


def _labels(dataset: Dataset, part: str) -> np.ndarray:
    return getattr(dataset, f"{part}_y").cpu().numpy()


def _shares(
    dataset: Dataset, count: int, by: str, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Return each hospital's share of each class, ``[classes, count]``, and the number of the draw taken."""
    classes = len(dataset.classes)
    sizes = {part: np.bincount(_labels(dataset, part), minlength=classes) for part in ("train", "test")}
    for draw in range(1, REDRAWS + 1):
        if by == "label":
            shares = rng.dirichlet(np.full(count, alpha), size=classes)
        elif by == "size":
            shares = np.tile(rng.dirichlet(np.full(count, alpha)), (classes, 1))
        else:
            shares = np.full((classes, count), 1 / count)
        held = {part: np.diff(_cuts(shares, sizes[part]), axis=1).sum(0) for part in sizes}
        if held["train"].min() >= LEAST_TRAIN and held["test"].min() >= LEAST_TEST:
            return shares, draw
    raise ValueError(
        f"no draw in {REDRAWS:,} of {dataset.name} among {count} hospitals by {by} (alpha {alpha:g}) left each with "
        f"{LEAST_TRAIN} train and {LEAST_TEST} test records: raise alpha, lower count, or take more records"
    )


def _cuts(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return where each class's records are cut, ``[classes, count + 1]``, by rounding cumulative shares."""
    edges = np.round(np.cumsum(shares, axis=1) * sizes[:, None]).astype(int)
    edges[:, -1] = sizes  # whatever rounding says, every record has a hospital
    return np.concatenate([np.zeros((len(sizes), 1), int), edges], axis=1)


def _rows(labels: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return each hospital's records, as sorted positions in the data set."""
    cuts = _cuts(shares, np.bincount(labels, minlength=len(shares)))
    held: list[list[np.ndarray]] = [[] for _ in range(shares.shape[1])]
    for label, edges in enumerate(cuts):
        order = rng.permutation(np.flatnonzero(labels == label))
        for index, part in enumerate(np.split(order, edges[1:-1])):
            held[index].append(part)
    return [np.sort(np.concatenate(parts)) for parts in held]


def describe(count: int, by: str, alpha: float, seed: int, draw: int) -> str:
    """Return how the records were split, for titles."""
    rule = "" if by == "site" else f", Dirichlet({alpha:g})"
    again = f", draw {draw}" if draw > 1 else ""
    return f"{count} hospitals by {by}{rule}, seed {seed}{again}"
