"""Figures of merit for scores of members and non-members, each with its interval, or refused with a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit import stats
from labkit.stats import Interval

LEVELS = (0.01, 0.001, 0.0001)
PRIORS = (0.01, 0.1, 0.5)
NEEDED = 10  # non-members expected above a threshold: with fewer, the false-positive rate itself is unknown


@dataclass(frozen=True)
class Refused:
    """A figure that the data at hand cannot support."""

    reason: str

    def __str__(self) -> str:
        return f"refused: {self.reason}"

    def percent(self, digits: int = 2) -> str:
        """Return the reason, like `Interval.percent` returns the number."""
        return str(self)


@dataclass(frozen=True)
class Operating:
    """A threshold and what it does: the true- and the false-positive rate, each with its Clopper-Pearson interval."""

    threshold: float
    tpr: Interval
    fpr: Interval

    def __str__(self) -> str:
        return f"{self.tpr.percent()} (at FPR {self.fpr.percent(3)})"


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return midranks from 1."""
    from scipy.stats import rankdata

    return rankdata(values)


def auc(scores: np.ndarray, members: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the AUC with DeLong's interval (DeLong, DeLong & Clarke-Pearson 1988; ranks as in Sun & Xu 2014).

    Raises
    ------
    ValueError
        If there are fewer than two members or two non-members.
    """
    from scipy.stats import norm

    inside, outside = scores[members], scores[~members]
    m, n = len(inside), len(outside)
    if min(m, n) < 2:
        raise ValueError(
            f"got {m} members and {n} non-members; an interval of the AUC needs at least 2 of each"
        )
    together = _ranks(np.concatenate([inside, outside]))
    over_outside = (together[:m] - _ranks(inside)) / n
    over_inside = 1 - (together[m:] - _ranks(outside)) / m
    estimate = float(over_outside.mean())
    error = np.sqrt(over_outside.var(ddof=1) / m + over_inside.var(ddof=1) / n)
    half = float(norm.ppf((1 + confidence) / 2) * error)
    return Interval(
        estimate,
        max(0.0, estimate - half),
        min(1.0, estimate + half),
        confidence,
        f"DeLong, {m} + {n} scores",
    )


def operating_point(
    scores: np.ndarray, members: np.ndarray, false_positive_rate: float
) -> Operating | Refused:
    """Return the most members that "score > threshold" finds while at most this share of non-members pass.

    Refused below ``10 / false_positive_rate`` non-members: ten false positives leave the rate itself uncertain by a
    factor of two either way, fewer leave nothing worth printing.

    Raises
    ------
    ValueError
        If the rate is not between 0 and 1.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"false_positive_rate is {false_positive_rate}; expected a number between 0 and 1")
    inside, outside = scores[members], np.sort(scores[~members])
    needed = round(NEEDED / false_positive_rate)
    if len(outside) < needed:
        return Refused(
            f"TPR at {100 * false_positive_rate:g}% FPR needs {needed:,} non-member scores; there are {len(outside):,}"
        )
    allowed = int(np.floor(false_positive_rate * len(outside) + 1e-9))
    threshold = float(outside[len(outside) - allowed - 1])
    hits, alarms = int((inside > threshold).sum()), int((outside > threshold).sum())
    return Operating(
        threshold, stats.clopper_pearson(hits, len(inside)), stats.clopper_pearson(alarms, len(outside))
    )


def balanced_accuracy(scores: np.ndarray, members: np.ndarray, *, seed: int = 0) -> Interval:
    """Return (TPR + 1 - FPR) / 2 at the best threshold of one random half, measured on the other half, and vice versa.

    Choosing and measuring on the same scores would give a coin more than one half.
    """
    from labkit.membership.reports.intervals import _best_threshold

    fold = np.random.default_rng(seed).permutation(len(scores)) % 2
    guessed = np.zeros(len(scores), dtype=bool)
    for half in (0, 1):
        threshold = _best_threshold(scores[fold != half], members[fold != half])
        guessed[fold == half] = scores[fold == half] >= threshold
    hit, pass_ = guessed[members].mean(), (~guessed[~members]).mean()
    error = 0.5 * np.sqrt(hit * (1 - hit) / members.sum() + pass_ * (1 - pass_) / (~members).sum())
    estimate = float((hit + pass_) / 2)
    return Interval(
        estimate,
        estimate - 1.96 * float(error),
        estimate + 1.96 * float(error),
        0.95,
        "normal, two-fold thresholds",
    )


def precision(point: Operating | Refused, prior: float) -> Interval | Refused:
    """Return the share of members among those pointed at, were a share ``prior`` of the records members.

    prior TPR / (prior TPR + (1 - prior) FPR). The interval takes each rate at the unfavourable end of its own, so it
    covers with at least 90%.

    Raises
    ------
    ValueError
        If the prior is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise ValueError(f"prior is {prior}; expected a number between 0 and 1")
    if isinstance(point, Refused):
        return point

    def share(tpr: float, fpr: float) -> float:
        found = prior * tpr
        return found / (found + (1 - prior) * fpr) if found + fpr > 0 else 0.0

    return Interval(
        share(point.tpr.estimate, point.fpr.estimate),
        share(point.tpr.low, point.fpr.high),
        share(point.tpr.high, point.fpr.low),
        0.9,
        "two Clopper-Pearson ends at once",
    )


@dataclass(frozen=True)
class Control:
    """What the attack's AUC would be if membership meant nothing.

    Attributes
    ----------
    auc : Interval
        Mean and central 95% of the AUC under shuffled member labels.
    p_value : float
        Share of shuffles (the real labels counted in) that do at least as well.
    """

    auc: Interval
    p_value: float

    @property
    def alarm(self) -> bool:
        """Whether the AUC lies above the central 95% of shuffles: the one-sided 2.5% level."""
        return self.p_value <= 0.025


def permutation_control(
    scores: np.ndarray, members: np.ndarray, *, permutations: int = 200, seed: int = 0
) -> Control:
    """Shuffle who is a member and return the AUC that is left: it should lie around one half.

    Raises
    ------
    ValueError
        If there are fewer than 40 permutations: the 2.5% level cannot be reached.
    """
    if permutations < 40:
        raise ValueError(f"got {permutations} permutations; expected at least 40 (the alarm's level is 2.5%)")
    ranks, m, rng = _ranks(scores), int(members.sum()), np.random.default_rng(seed)
    n = len(scores) - m

    def area(rank_sum: float) -> float:
        return (rank_sum - m * (m + 1) / 2) / (m * n)

    shuffled = np.array([area(rng.permutation(ranks)[:m].sum()) for _ in range(permutations)])
    observed = area(ranks[members].sum())
    low, high = np.quantile(shuffled, [0.025, 0.975])
    interval = Interval(
        float(shuffled.mean()), float(low), float(high), 0.95, f"{permutations} shuffles of the member labels"
    )
    # A hair's breadth of slack, so that rounding never turns a tie in our favour.
    p_value = (1 + int((shuffled >= observed - 1e-12).sum())) / (permutations + 1)
    return Control(interval, p_value)
