"""Intervals for numbers that chance had a part in: the one home of the statistics that all labs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

SUPPORTED = 1e-6  # the law of some tens of null models is not shown to hold further out
EXACT = 1e-12  # nor does an exact tail mean more below: that code erred, or that records depend, is likelier


def p_text(p: float, least: float = EXACT, *, digits: int = 2) -> str:
    """Return a p-value for people to read, none below ``least``: one that underflows to 0 is never shown as 0.

    Parameters
    ----------
    p : float
    least : float
        The least that its method supports: `EXACT`, or `SUPPORTED` where the law under H0 is a model.
    digits : int

    Examples
    --------
    >>> p_text(0.0321), p_text(0.0), p_text(2e-8, SUPPORTED), p_text(0.0321, digits=1)
    ('0.032', '< 1e-12', '< 1e-06', '0.03')
    """
    return f"< {least:.0e}" if p < least else f"{p:.{digits}g}"


def p_words(p: float, least: float = EXACT, *, digits: int = 2) -> str:
    """Return the same for a sentence.

    Examples
    --------
    >>> p_words(0.0321), p_words(2e-257)
    ('p = 0.032', 'p < 1e-12')
    """
    shown = p_text(p, least, digits=digits)
    return f"p {shown}" if p < least else f"p = {shown}"


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
    """Return `mean_interval` of shares, such as accuracies, cut to [0, 1]: no share lies beyond; see `equal_shares`.

    Examples
    --------
    >>> mean_share([1.0, 1.0, 1.0, 1.0]).percent(0)
    '100% [40, 100]'
    """
    found, shares = mean_interval(values, confidence), np.asarray(values, dtype=float).ravel()
    if shares.size > 1 and np.ptp(shares) < 1e-9:  # not found.low == found.high: their mean is rounded
        return equal_shares(float(shares[0]), shares.size, confidence)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def equal_shares(share: float, runs: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a mean share whose ``runs`` all gave the same: they have no spread to go by.

    They bound the chance that a run gives another share (Clopper-Pearson, no such run among them); whatever that other
    share is, the mean lies within what is returned.
    """
    other = clopper_pearson(0, runs, confidence).high
    method = f"exact, {runs} equal runs"
    return Interval(share, share * (1 - other), share + (1 - share) * other, confidence, method)


def prediction_bound(values: Sequence[float], trials: int, confidence: float = 0.95) -> float:
    """Return what one further run reaches with this confidence: a bound for one deployed model, not for a mean.

    A further run strays as the runs do, ``s sqrt(1 + 1/k)`` (Hahn & Meeker, "Statistical Intervals", section 4.7), and
    its accuracy was measured on ``trials`` test records of many: both variances add up, under a one-sided Student t.

    Parameters
    ----------
    values : sequence of float
        Shares of correct answers, one per independent run, all on the same test records.
    trials : int
        Number of test records.

    Raises
    ------
    ValueError
        If there are no values, one is no share, or ``trials`` is below 1.

    Examples
    --------
    >>> round(prediction_bound([0.98, 0.981, 0.979], 10_000), 4)
    0.9747
    >>> round(float(mean_interval([0.98, 0.981, 0.979]).low), 4)  # of the mean, and so narrower
    0.9775
    """
    from scipy.stats import t

    found = np.asarray(values, dtype=float)
    _check_confidence(confidence)
    if not len(found) or not ((found >= 0) & (found <= 1)).all() or trials < 1:
        raise ValueError(
            f"got values {found.tolist()} on {trials} test records; expected at least one share in [0, 1], and a record"
        )
    k, mean = len(found), float(found.mean())
    if k == 1:
        return 0.0  # one run says nothing of how far others stray
    variance = found.var(ddof=1) * (1 + 1 / k) + mean * (1 - mean) / trials
    return max(0.0, mean - float(t.ppf(confidence, k - 1)) * float(np.sqrt(variance)))


def prediction_limit(
    values: Sequence[float],
    of_records: float,
    confidence: float = 0.95,
    *,
    below: bool = True,
    share: bool = True,
) -> float:
    """Return `prediction_bound` for any figure: what one further run has at least (``below``), or at most.

    Parameters
    ----------
    values : sequence of float
        One per independent run.
    of_records : float
        Variance of the figure by the choice of test records, such as a bootstrap's.
    share : bool
        Whether the figure lies in [0, 1], to which the limit is then cut.

    Examples
    --------
    >>> round(prediction_limit([0.98, 0.981, 0.979], 0.98 * 0.02 / 10_000), 4)  # as prediction_bound
    0.9747
    """
    from scipy.stats import t

    found = np.asarray(values, dtype=float)
    _check_confidence(confidence)
    if not len(found) or not np.isfinite(found).all() or not of_records >= 0:
        raise ValueError(
            f"got values {found.tolist()} and a variance of {of_records}; expected finite numbers"
        )
    sign = -1.0 if below else 1.0
    if len(found) == 1:  # one run says nothing of how far others stray
        limit = sign * np.inf
    else:
        variance = found.var(ddof=1) * (1 + 1 / len(found)) + of_records
        limit = found.mean() + sign * float(t.ppf(confidence, len(found) - 1)) * float(np.sqrt(variance))
    return float(np.clip(limit, 0, 1)) if share else float(limit)


@dataclass(frozen=True)
class Paired:
    """Two models on the same records: see `mcnemar`.

    Attributes
    ----------
    only_first, only_second : int
        Records that one model alone gets right.
    difference : Interval
        Accuracy of the first minus that of the second, 95%.
    p_value : float
        Exact and two-sided.
    """

    only_first: int
    only_second: int
    difference: Interval
    p_value: float

    def __str__(self) -> str:
        gap = self.difference
        return (
            f"{100 * gap.estimate:+.2f} points [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}], {p_words(self.p_value)} "
            f"({self.only_first} records to {self.only_second})"
        )


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare two models on the same records: McNemar's exact test and the paired difference.

    Records that both get right, or both wrong, say nothing of the difference: among the others, each model should be
    right half of the time if they are equally good (McNemar, Psychometrika 12, 1947; exact binomial form). The interval
    (Agresti & Min, Statistics in Medicine 24, 2005) is over records, for these two trained models.

    Parameters
    ----------
    first, second : bool arrays of shape (n,)
        Whether each model answers each record correctly, in the same order.

    Raises
    ------
    ValueError
        If shapes differ, there is no record, or an array is not boolean.

    Examples
    --------
    >>> a = np.r_[np.ones(90, bool), np.zeros(10, bool)]
    >>> b = np.r_[np.ones(80, bool), np.zeros(20, bool)]
    >>> mcnemar(a, b).p_value < 0.01  # though 90% [82, 95] and 80% [71, 87] overlap
    True
    """
    from scipy.stats import binomtest

    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape or one.ndim != 1 or not len(one) or one.dtype != bool or two.dtype != bool:
        raise ValueError(
            f"got {one.dtype} {one.shape} and {two.dtype} {two.shape}; expected two boolean arrays (n,) on the same records"
        )
    b, c, n = int((one & ~two).sum()), int((two & ~one).sum()), len(one)
    p = binomtest(b, b + c).pvalue if b + c else 1.0
    # Half a record more in each of the four cells: without it, no discordant record would mean no doubt.
    more, fewer, all_of_them = b + 0.5, c + 0.5, n + 2
    middle = (more - fewer) / all_of_them
    reach = 1.959964 * float(np.sqrt(more + fewer - (more - fewer) ** 2 / all_of_them)) / all_of_them
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    found = Interval((b - c) / n, low, high, 0.95, "paired, over records")
    return Paired(b, c, found, float(p))


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
