"""Figures of merit for scores of members and non-members, each with its interval, or refused with a reason.

The rate of true positives at few false ones has a module of its own: `labkit.membership.reports.operating`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.membership.reports.operating import LEVELS as LEVELS
from labkit.membership.reports.operating import Operating as Operating
from labkit.membership.reports.operating import Refused as Refused
from labkit.membership.reports.operating import operating_point as operating_point
from labkit.membership.reports.operating import sides
from labkit.stats import Interval

PRIORS = (0.01, 0.1, 0.5)


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
    inside, outside = sides(scores, members)
    over_outside, over_inside = _placements(inside, outside)
    return _normal(float(over_outside.mean()), over_outside, over_inside, confidence, (0.0, 1.0))


def auc_difference(
    scores: np.ndarray, others: np.ndarray, members: np.ndarray, confidence: float = 0.95
) -> Interval:
    """Return the AUC of one attack minus that of another on the same records, with DeLong's paired interval.

    What makes a record easy makes it easy for both, so their AUCs move together: two intervals may overlap while the
    difference is certain.

    Parameters
    ----------
    scores, others : float arrays of shape (m,)
        Of the two attacks, for the same records of the same target.
    members : bool array of shape (m,)

    Raises
    ------
    ValueError
        If there are fewer than two members or two non-members, or the arrays do not fit.
    """
    pairs = [_placements(*sides(given, members)) for given in (scores, others)]
    (a, b), (c, d) = pairs
    return _normal(float((a - c).mean()), a - c, b - d, confidence, (-1.0, 1.0))


def _placements(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each member the share of non-members below it, and for each non-member that of members above."""
    m, n = len(inside), len(outside)
    if min(m, n) < 2:
        raise ValueError(
            f"got {m} members and {n} non-members; an interval of the AUC needs at least 2 of each"
        )
    together = _ranks(np.concatenate([inside, outside]))
    return (together[:m] - _ranks(inside)) / n, 1 - (together[m:] - _ranks(outside)) / m


def _normal(
    estimate: float,
    by_member: np.ndarray,
    by_other: np.ndarray,
    confidence: float,
    limits: tuple[float, float],
) -> Interval:
    from scipy.stats import norm

    m, n = len(by_member), len(by_other)
    error = np.sqrt(by_member.var(ddof=1) / m + by_other.var(ddof=1) / n)
    half = float(norm.ppf((1 + confidence) / 2) * error)
    low, high = max(limits[0], estimate - half), min(limits[1], estimate + half)
    return Interval(estimate, low, high, confidence, f"DeLong, {m} + {n} scores")


def balanced_accuracy(scores: np.ndarray, members: np.ndarray, *, seed: int = 0) -> Interval:
    """Return (TPR + 1 - FPR) / 2 at the best threshold of one random half, measured on the other half, and vice versa.

    Choosing and measuring on the same scores would give a coin more than one half.
    """
    inside, outside = sides(scores, members)
    scores, members = np.asarray(scores, dtype=float), np.asarray(members)
    fold = np.random.default_rng(seed).permutation(len(scores)) % 2
    guessed = np.zeros(len(scores), dtype=bool)
    for half in (0, 1):
        threshold = best_threshold(scores[fold != half], members[fold != half])
        guessed[fold == half] = scores[fold == half] >= threshold
    hit, pass_ = guessed[members].mean(), (~guessed[~members]).mean()
    error = 0.5 * np.sqrt(hit * (1 - hit) / len(inside) + pass_ * (1 - pass_) / len(outside))
    estimate = float((hit + pass_) / 2)
    return Interval(
        estimate,
        estimate - 1.96 * float(error),
        estimate + 1.96 * float(error),
        0.95,
        "normal, two-fold thresholds",
    )


def best_threshold(values: np.ndarray, members: np.ndarray) -> float:
    """Return the threshold t for which "value >= t" has the best balanced accuracy."""
    order = np.argsort(-values, kind="stable")
    ordered, inside = values[order], members[order]
    gain = np.cumsum(inside) / max(1, inside.sum()) - np.cumsum(~inside) / max(1, (~inside).sum())
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    return float(ordered[np.argmax(np.where(last_of_tie, gain, -np.inf))])


def precision(point: Operating | Refused, prior: float) -> Interval | Refused:
    """Return the share of members among those pointed at, were a share ``prior`` of the records members.

    prior TPR / (prior TPR + (1 - prior) FPR), for this very threshold. The interval takes each rate at the unfavourable
    end of its own, so it covers with at least 90%.

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

    found, fpr = point.found or point.tpr, point.fpr
    return Interval(
        share(found.estimate, fpr.estimate),
        share(found.low, fpr.high),
        share(found.high, fpr.low),
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
    inside, _ = sides(scores, members)
    ranks, m, rng = _ranks(scores), len(inside), np.random.default_rng(seed)
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
