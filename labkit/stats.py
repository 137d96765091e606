"""Intervals for numbers that chance had a part in: the one home of the statistics that all labs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval that its method gives.

    Attributes
    ----------
    estimate, low, high : float
        The value and the ends of its interval, in the unit of the data.
    confidence : float
        For example 0.95.
    method : str
        How it was computed, with the number of observations.
    """

    estimate: float
    low: float
    high: float
    confidence: float = 0.95
    method: str = ""

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def percent(self, digits: int = 2) -> str:
        """Return the interval as percentages, for example ``97.10% [96.80, 97.40]``."""
        return (
            f"{100 * self.estimate:.{digits}f}% [{100 * self.low:.{digits}f}, {100 * self.high:.{digits}f}]"
        )


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean of independent runs with its Student t interval.

    Parameters
    ----------
    values : sequence of float
        One number per run (seed). One value alone gives an infinite interval: one seed proves little.

    Raises
    ------
    ValueError
        If there are no values, or one is not finite.
    """
    from scipy import stats

    _check_confidence(confidence)
    array = np.asarray(values, dtype=float).ravel()
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"got {array.tolist()}; expected at least one finite number")
    mean, method = float(array.mean()), f"Student t, {array.size} runs"
    if array.size == 1:
        return Interval(mean, -np.inf, np.inf, confidence, method)
    half = float(stats.t.ppf((1 + confidence) / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    return Interval(mean, mean - half, mean + half, confidence, method)


def mean_share(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return `mean_interval` of shares, such as accuracies, cut to [0, 1]: no share lies beyond."""
    found = mean_interval(values, confidence)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return a proportion with its exact two-sided binomial interval (Clopper & Pearson, 1934).

    Raises
    ------
    ValueError
        If ``trials`` is not positive or ``hits`` lies outside ``0..trials``.
    """
    from scipy import stats

    _check_confidence(confidence)
    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"got {hits} hits in {trials} trials; expected 0 <= hits <= trials and trials >= 1")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return Interval(hits / trials, low, high, confidence, f"Clopper-Pearson, {trials} trials")


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of one sample with its percentile bootstrap interval (Efron, 1979).

    Parameters
    ----------
    values : array-like of shape (n,) or (n, d)
        Independent observations, resampled along the first axis.
    statistic : callable
        Maps an array of the same shape to one number.

    Raises
    ------
    ValueError
        If there are fewer than two observations.
    """
    _check_confidence(confidence)
    array = np.asarray(values)
    if len(array) < 2:
        raise ValueError(f"got {len(array)} observations; the bootstrap needs at least 2")
    rng = np.random.default_rng(seed)
    draws = [statistic(array[rng.integers(0, len(array), len(array))]) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"percentile bootstrap, {resamples} resamples of {len(array)}"
    return Interval(float(statistic(array)), float(low), float(high), confidence, method)


def roc(scores_positive: Sequence[float], scores_negative: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return (false_positive_rate, true_positive_rate) of "score >= threshold" at every distinct threshold.

    Both arrays begin at 0 and end at 1; tied scores move together, so ties are never counted in anyone's favour.

    Raises
    ------
    ValueError
        If either side is empty or a score is NaN.
    """
    positive = np.sort(np.asarray(scores_positive, dtype=float))
    negative = np.sort(np.asarray(scores_negative, dtype=float))
    if positive.size == 0 or negative.size == 0 or np.isnan(positive).any() or np.isnan(negative).any():
        raise ValueError(
            "a ROC needs at least one score on each side and no NaN: drop or repair those records"
        )
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]
    true_positive_rate = 1 - np.searchsorted(positive, thresholds, side="left") / positive.size
    false_positive_rate = 1 - np.searchsorted(negative, thresholds, side="left") / negative.size
    return np.concatenate([[0.0], false_positive_rate]), np.concatenate([[0.0], true_positive_rate])


def auc(scores_positive: Sequence[float], scores_negative: Sequence[float]) -> float:
    """Return the area under the ROC curve, ties counted one half (the Mann-Whitney statistic)."""
    false_positive_rate, true_positive_rate = roc(scores_positive, scores_negative)
    return float(np.trapezoid(true_positive_rate, false_positive_rate))
