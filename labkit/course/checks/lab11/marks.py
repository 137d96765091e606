"""Checks of lab 11, second part: how sure differential privacy lets anybody be, and how sure a mark makes us."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from labkit.course.checks.lab11.rounds import number
from labkit.course.exercises.exercise import Wrong, exercise


def reference_mark_ceiling(epsilon: float, delta: float, fpr: float) -> float:
    """Return the highest true positive rate that (ε, δ)-DP leaves to any test at ``fpr``."""
    return min(1.0, math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - delta - fpr))


def best_test(epsilon: float, delta: float, fpr: float) -> float:
    """Return the power of the best test against the leakiest (ε, δ)-DP mechanism there is, by brute force.

    Randomised response that tells the truth outright with probability δ (Kairouz, Oh & Viswanath 2015, arXiv 1311.0776,
    section 2.1): four answers, accepted in the order of their likelihood ratio, the last one in part (Neyman-Pearson).
    """
    truth, lie = (1 - delta) / (1 + math.exp(-epsilon)), (1 - delta) / (1 + math.exp(epsilon))
    present, absent = (delta, truth, lie, 0.0), (0.0, lie, truth, delta)
    power, left = 0.0, fpr
    for hit, alarm in zip(present, absent, strict=True):
        part = min(1.0, left / alarm) if alarm else 1.0
        power, left = power + part * hit, max(0.0, left - part * alarm)
    return power


@exercise(
    "11.mark_ceiling",
    title="how well can any mark be found?",
    reference=reference_mark_ceiling,
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
)
def check_mark_ceiling(attempt: Callable) -> None:
    """Against the best test on a mechanism that gives away all that (ε, δ) allows."""
    for epsilon, delta, fpr in (
        (1.0, 0.01, 0.05),
        (3.0, 1e-5, 0.001),
        (0.0, 0.0, 0.3),
        (1.0, 0.01, 0.9),
        (3.0, 0.01, 0.2),
        (1.0, 0.01, 0.995),
        (8.0, 1e-5, 0.0),
        (0.5, 0.1, 0.0),
        (0.5, 0.1, 1.0),
    ):
        given = {"epsilon": epsilon, "delta": delta, "fpr": fpr}
        got = number(attempt(epsilon, delta, fpr), given)
        expected = best_test(epsilon, delta, fpr)
        if not math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-12):
            raise Wrong(
                given=given, got=got, expected=expected, because=_why_ceiling(got, epsilon, delta, fpr)
            )


def _why_ceiling(got: float, epsilon: float, delta: float, fpr: float) -> str:
    """Return the likely cause of a wrong ceiling."""
    grow, shrink = math.exp(epsilon), math.exp(-epsilon)
    first, second = grow * fpr + delta, 1 - shrink * (1 - delta - fpr)
    if got > 1:
        return "a rate is at most 1: take the smallest of the bounds and 1"
    causes = [
        (
            min(1.0, first),
            "the promise holds in both directions: the chance of a *miss* is bounded, too, from the other side\n1 - fpr <= e^ε (1 - tpr) + δ",
        ),
        (grow * fpr, "δ is missing: with probability δ the promise may fail altogether, so it is added"),
        (
            min(1.0, grow * fpr),
            "δ is missing: with probability δ the promise may fail altogether, so it is added",
        ),
        (1 - shrink * (1 - fpr), "the second bound is missing δ\n1 - fpr <= e^ε (1 - tpr) + δ"),
        (
            min(1.0, max(first, second)),
            "both bounds hold, so the *lower* one is the ceiling, and here that is the other one\ntpr <= e^ε fpr + δ",
        ),
        (min(1.0, shrink * fpr + delta), "the exponent has a wrong sign: a larger ε allows more"),
    ]
    fitting = (text for wrong, text in causes if math.isclose(got, wrong, rel_tol=1e-9, abs_tol=1e-12))
    return next(
        fitting,
        "each of the two promises bounds the true positives: solve each for them, and keep what both allow",
    )


def reference_rank_p(strength: float, redrawn: np.ndarray) -> float:
    """Return the share of keys, the hospital's own among them, that read at least as strong."""
    return float((1 + np.sum(np.asarray(redrawn) >= strength)) / (1 + len(redrawn)))


@exercise(
    "11.rank_p",
    title="how rare is it?",
    reference=reference_rank_p,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_rank_p(attempt: Callable) -> None:
    """By its promise: among exchangeable keys, each takes its turn as the hospital's, and P[p <= a] is at most a."""
    strong = 2.5, np.array([-1.2, 0.3, 0.8, 2.1, -0.4, 1.1, -2.0, 0.1, -0.9])
    _expect(attempt, *strong, 1 / 10)
    random = np.random.default_rng(0)
    values = random.normal(size=20).round(3)
    _turns(attempt, values)
    _turns(attempt, np.array([0.0, 0, 0, 1, 1, 2, 2, 2]))  # block codes read the same strength for many keys
    _turns(attempt, np.array([0.1, 0.1, 0.3, 0.3, 0.7]))  # equal readings that float32 cannot hold
    _turns(attempt, np.array([1.0, 1 + 2.0**-40, 2.0, 3.0]))  # readings that float32 would make equal
    _expect(attempt, -5.0, values, 1.0)
    _expect(attempt, 0.5, np.array([]), 1.0)


def _turns(attempt: Callable, values: np.ndarray) -> None:
    """Let each value be the hospital's: sorted, the p-values must be the smallest that still keep the promise."""
    ordered = sorted(values.tolist(), reverse=True)
    for i, own in enumerate(values):
        # Keys that read the same cannot be told apart: all of them get the worst rank among them.
        worst = max(place for place, value in enumerate(ordered, 1) if value == own)
        _expect(attempt, float(own), np.delete(values, i), worst / len(values))


def _expect(attempt: Callable, strength: float, redrawn: np.ndarray, expected: float) -> None:
    given = {"strength": strength, "redrawn": redrawn}
    got = number(attempt(strength, redrawn.copy()), given)
    if not math.isclose(got, expected, rel_tol=1e-9):
        raise Wrong(given=given, got=got, expected=expected, because=_why_p(got, strength, redrawn))


def _why_p(got: float, strength: float, redrawn: np.ndarray) -> str:
    """Return the likely cause of a wrong p-value."""
    if not len(redrawn):
        return "without any redrawn key nothing is known, and that p-value is 1\n(1 + 0) / (1 + 0) is 1"
    keys, above = len(redrawn), int((redrawn >= strength).sum())
    strictly, beyond = int((redrawn > strength).sum()), int((np.abs(redrawn) >= abs(strength)).sum())
    spread = float(np.std(redrawn, ddof=1)) or 1.0
    normal = [
        0.5 * math.erfc((strength - float(np.mean(redrawn))) / (spread * math.sqrt(2))),
        0.5 * math.erfc((strength - float(np.mean(redrawn))) / ((float(np.std(redrawn)) or 1.0) * math.sqrt(2))),
        0.5 * math.erfc(strength / math.sqrt(2)),
    ]  # fmt: skip
    causes = [
        (
            above / keys,
            "the hospital's own key is one of the draws: without it, nine keys could give a p-value of 0, which no finite number of keys shows\n+ 1, above and below",
        ),
        ((1 + above) / keys, "the own key is one of the keys: + 1 below, too"),
        (
            (1 + strictly) / (1 + keys),
            "a key that reads just as strong counts, too, or equal readings accuse the innocent\n>=, not >",
        ),
        (
            (1 + beyond) / (1 + keys),
            "a mark reads strong in one direction: keys that read strongly *against* theirs are no rivals",
        ),
        (
            (1 + int((redrawn <= strength).sum())) / (1 + keys),
            "turned around: count the keys that read *at least* as strong as the hospital's",
        ),
        (1 - above / keys, "turned around: count the keys that read *at least* as strong as the hospital's"),
    ]
    single = redrawn.astype(np.float32)
    if any(got == (1 + int((single >= own).sum())) / (1 + keys) for own in (strength, np.float32(strength))):
        return "float32 makes some readings equal and some ties unequal: compare as they come, in float64"
    for wrong, text in causes:
        if math.isclose(got, wrong, rel_tol=1e-9, abs_tol=1e-12):
            return text
    if any(math.isclose(got, value, rel_tol=1e-3, abs_tol=1e-15) for value in normal):
        return "a normal tail says more than the keys can carry: with so few keys, count\nwith k keys p is never below 1 / (k + 1)"
    return "among how many keys is this one ranked, and how many of those read at least as strong?"
