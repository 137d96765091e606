"""Checks of lab 09, second part: shared mistakes, and whether one more innocent model could score as much."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise


def _number(got: Any, given: Any) -> float:
    """Return an attempt's answer as a number."""
    try:
        return float(got)
    except (TypeError, ValueError):
        raise Wrong(given=given, got=got, expected="a number", because="return one number") from None


def _named(got: float, expected: float, causes: list[tuple[float, str]], given: Any, otherwise: str) -> None:
    """Raise `Wrong` with the cause whose value came instead, unless the right one came."""
    if math.isclose(got, expected, rel_tol=1e-4, abs_tol=1e-12):
        return
    because = next((text for wrong, text in causes if math.isclose(got, wrong, rel_tol=1e-4)), otherwise)
    raise Wrong(given=given, got=f"{got:.4g}", expected=f"{expected:.4g}", because=because)


def reference_repeated(owner: np.ndarray, suspect: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the owner's mistakes that the suspect repeats, with the same wrong label."""
    wrong = owner != truth
    return float((suspect == owner)[wrong].mean())


@exercise(
    "09.repeated",
    title="does it repeat my mistakes?",
    reference=reference_repeated,
    points=2,
    difficulty=2,
    importance=5,
    minutes=8,
)
def check_repeated(attempt: Callable) -> None:
    """Against a count, record by record; owner and suspect err at different rates."""
    rng = np.random.default_rng(0)
    for n, owner_errs, suspect_errs, copies in (
        (60, 0.3, 0.5, 0.4),
        (200, 0.2, 0.35, 0.6),
        (40, 0.5, 0.3, 0.3),
    ):
        truth = rng.integers(0, 6, n)
        owner = np.where(rng.random(n) < owner_errs, (truth + rng.integers(1, 6, n)) % 6, truth)
        alone = np.where(rng.random(n) < suspect_errs, (truth + rng.integers(1, 6, n)) % 6, truth)
        suspect = np.where(rng.random(n) < copies, owner, alone)
        given = f"labels of owner and suspect on {n} records of 6 classes, and the true labels"
        rows = list(zip(owner, suspect, truth, strict=True))
        mistakes = sum(a != t for a, _, t in rows)
        same = sum(a != t and b == a for a, b, t in rows)
        both = sum(a != t and b != t for a, b, t in rows)
        theirs = sum(b != t for _, b, t in rows)
        causes = [
            (
                both / mistakes,
                "that counts records that both get wrong: a *repeated* mistake is the same wrong label",
            ),
            (same / n, "that is a share of all records; how many of the owner's *mistakes* come back?"),
            (
                sum(a == b for a, b, _ in rows) / n,
                "that is agreement on all records: two good models agree on easy ones",
            ),
            (
                same / theirs,
                "that is a share of the suspect's mistakes; the questions are the owner's mistakes",
            ),
            (
                same / both,
                "that is a share of the records that both get wrong; a mistake that was mended counts, too",
            ),
            (same, "that is a number of records; divide by the number of the owner's mistakes"),
        ]
        got = _number(attempt(owner.copy(), suspect.copy(), truth.copy()), given)
        _named(
            got,
            same / mistakes,
            causes,
            given,
            "of the owner's mistakes, count those that the suspect makes in the same way\namong the records where owner != truth, the share where suspect == owner",
        )


def reference_another_innocent(value: float, nulls: np.ndarray) -> float:
    """Return the probability that one more model like the null models scores ``value`` or more."""
    from labkit.watermark.fingerprints.predictive import predictive_p

    return predictive_p(value, nulls)


@exercise(
    "09.another_innocent",
    title="could one more innocent model score that?",
    reference=reference_another_innocent,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_another_innocent(attempt: Callable) -> None:
    """Against an integral of Student's density, written out."""
    rng = np.random.default_rng(1)
    for k, above in ((20, 3.0), (6, 2.0), (12, -1.0)):
        nulls = rng.normal(0.4, 0.03, k)
        mean = sum(nulls) / k
        spread = math.sqrt(sum((nulls - mean) ** 2) / (k - 1))
        value = float(mean + above * spread)
        given = {"value": round(value, 4), "nulls": nulls.round(4)}
        expected = _student_tail(above / math.sqrt(1 + 1 / k), k - 1)
        causes = _wrong_tails(value, nulls, above)
        got = _number(attempt(value, nulls.copy()), given)
        otherwise = "one more model scatters around a mean that is itself uncertain: how far out is this value, by the law for few models?\nt = (value - mean) / (s * sqrt(1 + 1/k)), then the upper tail of Student's t with k - 1 degrees"
        _named(got, expected, causes, given, otherwise)


def _wrong_tails(value: float, nulls: np.ndarray, above: float) -> list[tuple[float, str]]:
    """Return what comes of each known mistake, and its name; ``above`` is the value in spreads above the mean."""
    k = len(nulls)
    t = above / math.sqrt(1 + 1 / k)
    right = _student_tail(t, k - 1)
    return [
        (1 - right, "that is the probability of *less*; wanted is the upper tail: t.sf"),
        (
            2 * min(right, 1 - right),
            "that is two-sided; a model that repeats *fewer* mistakes is no suspect: the upper tail alone",
        ),
        (
            0.5 * math.erfc(t / math.sqrt(2)),
            "that is the normal law; a spread estimated from k models asks for t",
        ),
        (
            0.5 * math.erfc(above / math.sqrt(2)),
            "that is the normal law at the estimated mean and spread, as if k models had told them exactly",
        ),
        (
            _student_tail(above, k - 1),
            "the scale is a little too small: the mean of k models has an error of its own\nsqrt(1 + 1/k) is missing",
        ),
        (
            _student_tail(above * math.sqrt(k), k - 1),
            "that tests the *mean* of the null models, which scatters less; the question is about one more model\nspread / sqrt(k) is the mean's",
        ),
        (_student_tail(t * math.sqrt(k / (k - 1)), k - 1), "std needs ddof=1"),
        (_student_tail(t, k), "the degrees of freedom are wrong: the mean used up one of the values\nk - 1"),
        (
            (1 + int((nulls >= value).sum())) / (1 + k),
            "that is the rank p-value: valid, but with few models never small; both are wanted in court, here the other\nit is never below 1 / (k + 1)",
        ),
    ]


def _student_tail(t: float, freedom: int) -> float:
    """Return P[T > t] for Student's t, from its density."""
    from scipy.integrate import quad

    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(
        freedom * math.pi
    )
    tail, _ = quad(lambda u: constant * (1 + u * u / freedom) ** (-(freedom + 1) / 2), abs(t), math.inf)
    return tail if t >= 0 else 1 - tail
