"""Epsilon from below: what a number of right guesses, or a point of a ROC curve, proves about a mechanism.

Every function here is arithmetic on counts. What must hold for the counts to mean anything is said where it is used:
coins flipped independently, guesses that depend on the output of training only, thresholds fixed before looking.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from labkit import stats

LARGEST = 50.0  # an epsilon beyond any that counts could certify: where the searches begin
MOST = 2**24  # guesses beyond which no audit goes


def check_guesses(correct: int, guesses: int, canaries: int) -> None:
    """Raise ``ValueError`` unless ``0 <= correct <= guesses <= canaries`` and there is at least one guess."""
    if not (1 <= guesses <= canaries and 0 <= correct <= guesses):
        raise ValueError(
            f"got {correct} right of {guesses} guesses about {canaries} canaries; expected "
            "0 <= right <= guesses <= canaries, and at least one guess"
        )


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")


def one_run_p_value(
    correct: int, guesses: int, epsilon: float, *, delta: float = 0.0, canaries: int | None = None
) -> float:
    """Return the largest probability of so many right guesses under (ε, δ)-DP.

    Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run", arXiv 2305.08846, theorem 5.2. Under pure
    ε-DP the number of right guesses is no larger, in distribution, than a binomial of success rate 1 / (1 + e^-ε); each
    canary may in addition let δ's worth of luck through, and the theorem bounds what that can add.

    Parameters
    ----------
    correct, guesses : int
        Right guesses, and all guesses made (canaries that were abstained from do not count).
    epsilon, delta : float
        The claim to test, for add/remove neighbours.
    canaries : int, optional
        All canaries whose coin was flipped; ``guesses`` when nothing was abstained from. Matters only for δ > 0.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If the counts do not fit together, or epsilon or delta is out of range.
    """
    from scipy import stats as distributions

    canaries = guesses if canaries is None else canaries
    check_guesses(correct, guesses, canaries)
    if not epsilon >= 0 or not 0 <= delta < 1:
        raise ValueError(f"got epsilon={epsilon}, delta={delta}; expected epsilon >= 0 and 0 <= delta < 1")
    rate = 1 / (1 + math.exp(-epsilon))
    luck = distributions.binom.sf(correct - 1, guesses, rate)
    if delta and correct:
        # P[correct - i <= Binomial < correct] / i, at its largest over i = 1 .. correct
        behind = np.arange(1, correct + 1)
        slips = np.cumsum(distributions.binom.pmf(correct - behind, guesses, rate)) / behind
        luck += 2 * canaries * delta * float(slips.max())
    return float(min(1.0, luck))


def one_run_epsilon(
    correct: int,
    guesses: int,
    *,
    delta: float = 0.0,
    canaries: int | None = None,
    confidence: float = 0.95,
) -> float:
    """Return the largest ε that ``correct`` right guesses refute: a lower bound on ε, at this confidence.

    Examples
    --------
    >>> round(one_run_epsilon(100, 100), 2), round(one_run_epsilon(700, 1000), 2)
    (3.49, 0.73)
    """
    _check_confidence(confidence)
    return _largest_refuted(
        lambda epsilon: one_run_p_value(correct, guesses, epsilon, delta=delta, canaries=canaries),
        1 - confidence,
    )


def _largest_refuted(p_value: Callable[[float], float], level: float) -> float:
    """Bisect for the largest parameter whose p-value is at most ``level``; the p-value grows with the parameter."""
    low, high = 0.0, LARGEST
    if p_value(low) > level:
        return 0.0
    if p_value(high) <= level:
        return high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) <= level else (low, middle)
    return low


def many_run_epsilon(
    true_positives: int,
    positives: int,
    false_positives: int,
    negatives: int,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Return the lower bound on ε that one point of a ROC curve certifies.

    Any test obeys TPR <= e^ε FPR + δ (Kairouz, Oh & Viswanath, arXiv 1311.0776). Each rate gets its two-sided
    Clopper-Pearson interval at ``confidence``; the lower end of one and the upper end of the other fail with
    probability (1 - confidence) / 2 each, so the bound holds with ``confidence`` (Nasr et al., arXiv 2101.04535).

    Parameters
    ----------
    true_positives, positives : int
        "In" answers among the independent runs (or records) that were in, and their number.
    false_positives, negatives : int
        "In" answers among those that were out, and their number.
    delta : float
        Of the claim.

    Notes
    -----
    The threshold behind the counts must be **fixed before** these runs were looked at. Picking the best point of the
    curve afterwards certifies nothing.

    Examples
    --------
    >>> round(many_run_epsilon(50, 1000, 1, 1000), 2)
    1.9
    """
    caught = stats.clopper_pearson(true_positives, positives, confidence)
    alarms = stats.clopper_pearson(false_positives, negatives, confidence)
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; expected 0 <= delta < 1")
    if caught.low <= delta:
        return 0.0
    return max(0.0, math.log((caught.low - delta) / alarms.high))


def certifiable(guesses: int, accuracy: float = 1.0, *, confidence: float = 0.95) -> float:
    """Return the ε that ``guesses`` guesses of this accuracy certify: what an audit of this size can show at best."""
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy is {accuracy}; expected a share between 0 and 1")
    return one_run_epsilon(math.floor(accuracy * guesses + 1e-9), guesses, confidence=confidence)


def guesses_needed(epsilon: float, accuracy: float = 1.0, *, confidence: float = 0.95) -> int | None:
    """Return the fewest guesses of this accuracy that certify ``epsilon``; ``None`` if no number up to `MOST` does.

    Guesses of accuracy p approach log(p / (1 - p)) from below, however many there are. Right guesses are whole numbers
    (rounded down, as in `certifiable`), so a few more guesses than the fewest may certify less.

    Raises
    ------
    ValueError
        If epsilon is negative, or the accuracy is no share.

    Examples
    --------
    >>> guesses_needed(1.0), guesses_needed(2.0, accuracy=0.9)
    (10, 800)
    """
    from scipy.stats import binom

    _check_confidence(confidence)
    if not epsilon >= 0 or not 0 <= accuracy <= 1:
        raise ValueError(
            f"got epsilon={epsilon}, accuracy={accuracy}; expected epsilon >= 0 and a share in [0, 1]"
        )
    if accuracy < 1 and (accuracy <= 0.5 or epsilon >= math.log(accuracy / (1 - accuracy))):
        return None
    if epsilon == 0:
        return 1  # every number of guesses certifies that

    def enough(guesses: np.ndarray, right_of: np.ndarray) -> np.ndarray:
        """Say whether as many right guesses as ``right_of`` would give suffice, out of ``guesses``."""
        right = np.floor(accuracy * right_of + 1e-9)
        return binom.sf(right - 1, guesses, 1 / (1 + math.exp(-epsilon))) <= 1 - confidence

    # Power does not rise at every step, so no bisection: of blocks low + 1 .. low + size those are dropped in which
    # not even the fewest guesses with the most right ones suffice, and those behind one whose last number suffices.
    low, size = np.zeros(1, dtype=np.int64), MOST
    while True:
        low = low[enough(low + 1, low + size)]
        sure = np.flatnonzero(enough(low + size, low + size))
        low = low[: sure[0] + 1] if len(sure) else low
        if size == 1 or not len(low):
            return int(low[0]) + 1 if len(low) else None
        size //= 2
        low = np.stack([low, low + size], axis=1).ravel()
