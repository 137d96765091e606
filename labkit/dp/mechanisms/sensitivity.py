"""How far one record can move an answer: clipping, and the sensitivities that clipping buys.

Two neighbouring relations are in use (Desfontaines & Pejo, 2020, arXiv 1906.01337, section 4):
"add/remove" (one record more or less) and "replace-one" (one record changed, the number of records public).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from labkit.dp.limits import check_count, check_neighbouring

Neighbouring = Literal["add/remove", "replace-one"]


def _check_bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"bounds are [{low}, {high}]; expected two finite numbers with low < high, chosen without looking"
            " at the data (bounds read off the data leak it)"
        )


def clip_values(values: Sequence[float] | np.ndarray, low: float, high: float) -> np.ndarray:
    """Return ``values`` moved into ``[low, high]``; without this, one outlier has unbounded influence.

    Parameters
    ----------
    values : array-like of any shape
        In the unit of the data.
    low, high : float
        Public bounds, in the same unit.

    Raises
    ------
    ValueError
        If the bounds are not finite and ordered, or a value is NaN (clipping would pass it through).
    """
    _check_bounds(low, high)
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError(
            f"{int(np.isnan(array).sum())} of {array.size} values are NaN, which no clipping bounds: replace each"
            " by a fixed number inside the bounds"
        )
    return np.clip(array, low, high)


def clip_vectors(vectors: np.ndarray, max_norm: float, *, norm: Literal[1, 2] = 2) -> np.ndarray:
    """Return each row scaled down to norm ``max_norm`` where it was longer; direction is kept.

    Parameters
    ----------
    vectors : array of shape (n, d)
        One row per record.
    max_norm : float
        The bound C of Abadi et al. (2016, arXiv 1607.00133, section 3.1), in the unit of the rows.
    norm : {1, 2}
        1 before Laplace noise, 2 before Gaussian noise.

    Raises
    ------
    ValueError
        If ``vectors`` is not two-dimensional or not finite, or ``max_norm`` is not a positive number.
    """
    array = np.asarray(vectors, dtype=float)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"got an array of shape {array.shape}; expected finite numbers of shape (n, d)")
    if not (math.isfinite(max_norm) and max_norm > 0):
        raise ValueError(f"max_norm is {max_norm}; expected a positive number, the longest row allowed")
    lengths = np.linalg.norm(array, ord=norm, axis=1, keepdims=True)
    return array * np.minimum(1.0, max_norm / np.maximum(lengths, max_norm))


def sum_sensitivity(low: float, high: float, neighbouring: Neighbouring = "add/remove") -> float:
    """Return how far one record in ``[low, high]`` moves a sum.

    Adding or removing a record moves it by that record, at most ``max(|low|, |high|)``; replacing one moves it by
    the difference of two records, at most ``high - low``. Neither is always the larger.

    Raises
    ------
    ValueError
        If the bounds are not finite and ordered, or the relation is unknown.
    """
    _check_bounds(low, high)
    check_neighbouring(neighbouring)
    return max(abs(low), abs(high)) if neighbouring == "add/remove" else high - low


def mean_sensitivity(low: float, high: float, n: int) -> float:
    """Return how far replacing one of ``n`` records in ``[low, high]`` moves their mean: ``(high - low) / n``.

    Replace-one only: under add/remove the number of records is itself private, so release a noisy sum and a noisy
    count and divide.

    Raises
    ------
    ValueError
        If the bounds are not finite and ordered, or ``n`` is not a positive whole number.
    """
    _check_bounds(low, high)
    check_count("n", n)
    return (high - low) / n


def count_sensitivity() -> float:
    """Return 1: one record changes a count of records by at most one, under either relation."""
    return 1.0


def histogram_sensitivity(neighbouring: Neighbouring = "add/remove", *, norm: Literal[1, 2] = 1) -> float:
    """Return how far one record moves a histogram of disjoint bins, in the L1 or L2 norm.

    Adding a record changes one bin by one; replacing a record changes two bins by one each (Dwork & Roth, 2014,
    example 3.2).

    Raises
    ------
    ValueError
        If the relation or the norm is unknown.
    """
    check_neighbouring(neighbouring)
    if norm not in (1, 2):
        raise ValueError(f"norm is {norm}; expected 1 (for Laplace noise) or 2 (for Gaussian noise)")
    bins_changed = 1 if neighbouring == "add/remove" else 2
    return float(bins_changed) if norm == 1 else math.sqrt(bins_changed)
