"""One check of a conformance audit, and the laws behind its p-values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """One question to a training function.

    Attributes
    ----------
    name : str
        What was looked at.
    p_value : float
        Probability, for a function that conforms, of something at least as odd; corrected for all that the check looked
        at (steps, coordinates, records).
    found : str
        What was measured, with its interval where there is one.
    meaning : str
        What to suspect if the check fails.
    """

    name: str
    p_value: float
    found: str
    meaning: str


def two_sided(law: object, value: float) -> float:
    """Return the two-sided p-value of ``value`` under a scipy law, discrete or not."""
    below = float(law.cdf(value))
    above = float(law.sf(value - 1)) if hasattr(law, "pmf") else float(law.sf(value))
    return min(1.0, 2 * min(below, above))


def several(p_values: np.ndarray | list[float]) -> float:
    """Return the p-value of the smallest of many (Bonferroni)."""
    values = np.asarray(p_values, dtype=float)
    return float(min(1.0, values.size * values.min())) if values.size else 1.0


def correlation_p_values(r: np.ndarray, length: int) -> np.ndarray:
    """Return two-sided p-values of correlations around a known mean of 0, between vectors of ``length`` numbers."""
    from scipy import stats as laws

    r = np.clip(np.abs(r), 0, 1)
    with np.errstate(divide="ignore"):
        t = r * np.sqrt(length - 1) / np.sqrt(np.maximum(1 - r**2, 1e-300))
    return 2 * laws.t.sf(t, length - 1)


def spread_p_value(counts: np.ndarray, trials: int, rate: float) -> float:
    """Return the two-sided p-value of how far independent Binomial(``trials``, ``rate``) counts lie from their mean.

    The law of the sum of squared distances (from the mean, rounded) is computed exactly, as a power of the transform of
    one count's law.
    """
    from scipy import stats as laws

    centre = round(trials * rate)
    law = laws.binom(trials, rate)
    possible = np.arange(int(law.isf(1e-13)) + 2)
    squares = (possible - centre) ** 2
    size = 1 << int(len(counts) * squares.max() + 1).bit_length()
    one = np.bincount(squares, weights=law.pmf(possible), minlength=size)
    total = np.fft.irfft(np.fft.rfft(one) ** len(counts), size).clip(min=0)
    seen = int(((np.asarray(counts) - centre) ** 2).sum())
    below, above = total[: seen + 1].sum(), total[seen:].sum() if seen < size else 0.0
    return float(min(1.0, 2 * min(below, above)))
