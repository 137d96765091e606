"""True positives at few false ones: the figure that attacks are judged by, with an interval that counts both sides.

The threshold at which a share α of the non-members passes is itself read off non-members. A binomial interval of the
members above it treats it as known: at its nominal 95% it covers 22 to 94% in our simulations (1,000 to 10,000
non-members), as one non-member more or less moves the threshold. Two questions have two answers here:

- *What does this threshold find?* `Operating.found`: the threshold is what it is, members are independent of it, and
  the Clopper-Pearson interval is exact.
- *What does the attack find at a rate of α?* `Operating.tpr`: the threshold's own uncertainty counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit import stats
from labkit.stats import Interval

LEVELS = (0.01, 0.001, 0.0001)
NEEDED = 10  # non-members expected above a threshold: with fewer, the false-positive rate itself is unknown
STRATA = 64  # of the binomial distribution, in `band`: more change no end in its third digit
HALVINGS = 40


@dataclass(frozen=True)
class Refused:
    """A figure that the data at hand cannot support."""

    reason: str
    short = "too few non-members"

    def __str__(self) -> str:
        return f"refused: {self.reason}"

    def percent(self, digits: int = 2) -> str:
        """Return the reason, like `Interval.percent` returns the number."""
        return str(self)


@dataclass(frozen=True)
class Tied(Refused):
    """A rate that no threshold comes near, as too many non-members share a score; with what the nearest below finds."""

    tpr: Interval
    fpr: Interval
    short = "scores tie"


@dataclass(frozen=True)
class Operating:
    """A threshold and what it does.

    Attributes
    ----------
    threshold : float
        Records that score above it are called members.
    tpr : Interval
        True-positive rate of the attack at the false-positive rate asked for: see `rate_interval`.
    fpr : Interval
        False-positive rate of this threshold, Clopper-Pearson.
    found : Interval or None
        True-positive rate of this very threshold, Clopper-Pearson: the same estimate as ``tpr``, a narrower interval.
        None where the threshold was set beforehand: then that is what ``tpr`` is.
    """

    threshold: float
    tpr: Interval
    fpr: Interval
    found: Interval | None = None

    def __str__(self) -> str:
        return f"{self.tpr.percent()} (threshold's FPR {self.fpr.percent(3)})"


def operating_point(
    scores: np.ndarray, members: np.ndarray, false_positive_rate: float
) -> Operating | Refused:
    """Return the most members that "score > threshold" finds while at most this share of non-members pass.

    Refused below ``10 / false_positive_rate`` non-members: ten false positives leave the rate itself uncertain by a
    factor of two either way, fewer leave nothing worth printing. Refused as well where ties leave no threshold that
    passes at least half of the non-members allowed: what is found there belongs to another rate.

    Parameters
    ----------
    scores : float array of shape (m,)
    members : bool array of shape (m,)

    Raises
    ------
    ValueError
        If the rate is not between 0 and 1, a score is NaN, or ``members`` is not boolean.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate is {false_positive_rate}; expected a number between 0 and 1")
    inside, outside = sides(scores, members)
    outside = np.sort(outside)
    needed = round(NEEDED / false_positive_rate)
    if len(outside) < needed:
        return Refused(
            f"TPR at {100 * false_positive_rate:g}% FPR needs {needed:,} non-member scores; there are {len(outside):,}"
        )
    allowed = int(np.floor(false_positive_rate * len(outside) + 1e-9))
    threshold = float(outside[len(outside) - allowed - 1])
    hits, alarms = int((inside > threshold).sum()), int((outside > threshold).sum())
    found, fpr = stats.clopper_pearson(hits, len(inside)), stats.clopper_pearson(alarms, len(outside))
    if 2 * alarms < allowed:
        many = int((outside >= threshold).sum())
        return Tied(
            f"no threshold passes near {100 * false_positive_rate:g}% of the non-members: their scores tie, and "
            f"{alarms:,} or {many:,} of {len(outside):,} pass",
            found,
            fpr,
        )
    return Operating(threshold, rate_interval(inside, outside, false_positive_rate), fpr, found)


def sides(scores: Any, members: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of members and of non-members.

    Raises
    ------
    ValueError
        If the two do not fit, ``members`` is not boolean (as an index, 0 and 1 pick records 0 and 1), or a score is NaN.
    """
    scores, members = np.asarray(scores, dtype=float), np.asarray(members)
    if members.dtype != bool or members.shape != scores.shape or scores.ndim != 1:
        raise ValueError(
            f"members is {members.dtype} {members.shape} for scores {scores.shape}; expected one bool for each score: "
            "use members.astype(bool) for 0 and 1"
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"{int(np.isnan(scores).sum())} scores are NaN, first that of record {int(np.isnan(scores).argmax())}: "
            "a NaN is above no threshold, so it would count as a sure non-member"
        )
    return scores[members], scores[~members]


def rate_interval(
    inside: np.ndarray, outside: np.ndarray, rate: float, *, confidence: float = 0.95
) -> Interval:
    """Return the true-positive rate at a false-positive rate, with an interval that counts the threshold's uncertainty.

    The threshold whose true false-positive rate is α has K of the n non-members above it, K binomial (n, α), whatever
    the scores' distribution. For each K the data say how many members lie above it; the interval's ends are quantiles
    of the Clopper-Pearson distributions of those counts, mixed over K. It is what a bootstrap of both sides draws,
    without drawing, and at least 95% of such intervals held the truth in our simulations.

    Parameters
    ----------
    inside, outside : float arrays of shape (m,), (n,)
        Scores of members and non-members.
    """
    estimate, low, high = band(inside, outside, np.array([rate]), confidence=confidence)
    method = f"mixed over the threshold, {len(inside)} + {len(outside)} scores"
    return Interval(float(estimate[0]), float(low[0]), float(high[0]), confidence, method)


def band(
    inside: np.ndarray, outside: np.ndarray, rates: np.ndarray, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `rate_interval` at many rates at once: estimates, lower and upper ends, each of the shape of ``rates``."""
    from scipy.stats import binom

    m, n, tail = len(inside), len(outside), (1 - confidence) / 2
    ascending = np.sort(inside)
    above = np.concatenate(
        [[np.inf], np.sort(outside)[::-1], [-np.inf]]
    )  # above[k]: the k-th largest non-member

    def beyond(k: np.ndarray, side: str) -> np.ndarray:
        return m - np.searchsorted(ascending, above[k], side=side)

    middles = (np.arange(STRATA) + 0.5) / STRATA
    drawn = binom.ppf(middles[:, None], n, rates).astype(int)  # (strata, rates)
    at_least, at_most = beyond(drawn, "left"), beyond(drawn + 1, "right")
    allowed = np.floor(rates * n + 1e-9).astype(int)
    estimate = beyond(np.minimum(allowed, n) + 1, "right") / m
    low = _mixed_quantile(at_least, m - at_least + 1, tail)
    high = _mixed_quantile(at_most + 1, m - at_most, 1 - tail)
    return estimate, np.minimum(low, estimate), np.maximum(high, estimate)


def _mixed_quantile(a: np.ndarray, b: np.ndarray, level: float) -> np.ndarray:
    """Return the ``level`` quantile of equal mixtures of Beta(a, b) over the first axis; a = 0 is 0, b = 0 is 1."""
    from scipy.special import betainc

    below, above = np.zeros(a.shape[1]), np.ones(a.shape[1])
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        share = np.where(
            a == 0, 1.0, np.where(b == 0, 0.0, betainc(np.maximum(a, 1), np.maximum(b, 1), middle))
        )
        reached = share.mean(0) >= level
        below, above = np.where(reached, below, middle), np.where(reached, middle, above)
    return (below + above) / 2
