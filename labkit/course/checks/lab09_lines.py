"""Checks of lab 09, second part: shared mistakes, and whether one more innocent model could score as much."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises import Wrong, exercise


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
            "among the records where owner != truth, the share where suspect == owner",
        )


def reference_another_innocent(value: float, nulls: np.ndarray, kinds: np.ndarray) -> float:
    """Return the largest probability, over kinds, that one more null model of a kind scores ``value`` or more."""
    from labkit.watermark.predictive import predictive_p

    return predictive_p(value, nulls, kinds=kinds.tolist())


@exercise(
    "09.another_innocent",
    title="could one more innocent model score that?",
    reference=reference_another_innocent,
    points=4,
    difficulty=4,
    importance=5,
    minutes=18,
)
def check_another_innocent(attempt: Callable) -> None:
    """Against an integral of Student's density, written out; one kind of null model, two, and three."""
    rng = np.random.default_rng(1)
    for sizes, shifts, above in (
        ((20,), (0.0,), 3.0),
        ((5, 16), (0.09, 0.0), 4.0),
        ((4, 3, 8), (0.0, 0.05, -0.1), 2.0),
    ):
        groups = [rng.normal(0.4 + shift, 0.03, size) for size, shift in zip(sizes, shifts, strict=True)]
        nulls, kinds = np.concatenate(groups), np.repeat([f"kind {k}" for k in range(len(sizes))], sizes)
        mixed = rng.permutation(len(nulls))
        value = max(float(group.mean()) for group in groups) + 0.03 * above
        given = {"value": round(value, 4), "nulls": nulls[mixed].round(4), "kinds": kinds[mixed]}
        got = _number(attempt(value, nulls[mixed], kinds[mixed]), given)
        otherwise = "t = (value - mean of the kind) / (s * sqrt(1 + 1/size of the kind)); the largest upper tail of all"
        causes = _wrong_tails(value, nulls, groups)
        _named(got, max(_tails(value, groups)), causes, given, otherwise)


def _spread(groups: list[np.ndarray], freedom: int) -> float:
    """Return the spread within groups, pooled."""
    return math.sqrt(sum(sum((x - group.mean()) ** 2 for x in group) for group in groups) / freedom)


def _tails(value: float, groups: list[np.ndarray], *, divisor: int = 0, freedom: int = 0) -> list[float]:
    """Return the upper tail for each group; ``divisor`` and ``freedom`` stand in for the right number."""
    right = sum(map(len, groups)) - len(groups)
    spread = _spread(groups, divisor or right)
    steps = [(value - float(group.mean())) / (spread * math.sqrt(1 + 1 / len(group))) for group in groups]
    return [_student_tail(step, freedom or right) for step in steps]


def _wrong_tails(value: float, nulls: np.ndarray, groups: list[np.ndarray]) -> list[tuple[float, str]]:
    """Return what comes of each known mistake, and its name."""
    k, right, tails = len(nulls), len(nulls) - len(groups), _tails(value, groups)
    spread = _spread(groups, right)
    nearest = max(groups, key=lambda group: group.mean())
    t = (value - nearest.mean()) / spread
    corrected = t / math.sqrt(1 + 1 / len(nearest))
    several = (
        []
        if len(groups) == 1
        else [
            (
                _tails(value, [nulls])[0],
                "the kinds were mixed up as one sample: the gap between them passes for spread",
            ),
            (
                min(tails),
                "that is the kind that speaks *against* the suspect most; one kind that explains the value is enough: max",
            ),
            (
                sum(tails) / len(tails),
                "that is an average over kinds; the kind that explains the value best counts: max",
            ),
            (
                max(_tails(value, [g])[0] for g in groups),
                "each kind used its own spread; few models say little: pool it",
            ),
            (
                max(_tails(value, groups, freedom=k - 1)),
                "each kind used up a degree of freedom with its mean: k - kinds",
            ),
            (
                max(_tails(value, groups, divisor=k - 1)),
                "s^2 is the sum of squares within kinds over k - kinds",
            ),
        ]
    )
    return [
        *several,
        (1 - max(tails), "that is the probability of *less*; wanted is the upper tail: t.sf"),
        (
            2 * max(tails),
            "that is two-sided; a model that repeats *fewer* mistakes is no suspect: the upper tail alone",
        ),
        (
            0.5 * math.erfc(corrected / math.sqrt(2)),
            "that is the normal law; a spread estimated from k models asks for t",
        ),
        (
            0.5 * math.erfc(t / math.sqrt(2)),
            "that is the normal law, as if k models had told mean and spread exactly",
        ),
        (
            _student_tail(t, right),
            "sqrt(1 + 1/size) is missing: the mean of a few models has an error of its own",
        ),
        (
            _student_tail(t * math.sqrt(len(nearest)), right),
            "that tests the *mean* of the null models (s / sqrt(size)); the question is about one more model",
        ),
        (
            max(_tails(value, groups, divisor=k)),
            "the sum of squares is divided by k - kinds, not by k (ddof)",
        ),
        (
            (1 + int((nulls >= value).sum())) / (1 + k),
            "that is the rank p-value: valid, but never below 1 / (k + 1); both are wanted in court, here the other",
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
