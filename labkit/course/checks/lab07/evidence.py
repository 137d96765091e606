"""Checks of lab 07 on what numbers say: agreement, p-values against null models, paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise


def _numbers(got: object, count: int, given: str, names: str) -> np.ndarray:
    """Return ``count`` finite numbers out of an attempt's answer."""
    try:
        values = np.asarray([float(value) for value in got], dtype=float)  # type: ignore[union-attr]
    except TypeError:
        values = np.empty(0)
    if len(values) != count:
        raise Wrong(given=given, got=got, expected=names, because=f"return all of these numbers: {names}")
    return values


def _cause(got: np.ndarray, causes: dict[str, Any], otherwise: str) -> str:
    """Return the cause whose values came instead."""
    for text, wrong in causes.items():
        if np.allclose(got, wrong, rtol=1e-4, atol=1e-9, equal_nan=True):
            return text
    return otherwise


def reference_agreement(victim: np.ndarray, thief: np.ndarray) -> tuple[float, float, float]:
    """Return the share of records with the same label, and its 95% Clopper-Pearson interval."""
    from labkit import stats

    hits = int((victim.argmax(1) == thief.argmax(1)).sum())
    found = stats.clopper_pearson(hits, len(victim))
    return found.estimate, found.low, found.high


@exercise(
    "07.agreement",
    title="how like the victim is the thief?",
    reference=reference_agreement,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_agreement(attempt: Callable) -> None:
    """Interval ends by bisection on the binomial law; the last case agrees on everything."""
    rng = np.random.default_rng(0)
    for noise, n in ((1.0, 60), (0.5, 200), (0.0, 40)):
        victim = rng.normal(size=(n, 5))
        thief = 2 * victim + noise * rng.normal(size=(n, 5))
        given = f"logits of victim and thief on {n} records, 5 classes, noise {noise:g}"
        hits = sum(int(a.argmax() == b.argmax()) for a, b in zip(victim, thief, strict=True))
        low = _lower_end(hits, n)
        expected = np.array([hits / n, low, 1 - _lower_end(n - hits, n)])
        got = _numbers(attempt(victim.copy(), thief.copy()), 3, given, "share, low, high")
        if np.allclose(got, expected, rtol=1e-4, atol=1e-6):
            continue
        half = 1.959964 * math.sqrt(hits / n * (1 - hits / n) / n)
        causes = {
            "that is the normal approximation: with all hits its interval has no width, which cannot be": [
                hits / n,
                hits / n - half,
                hits / n + half,
            ],
            "those are numbers of records, not shares": [hits, *(n * expected[1:])],
            "that is in percent; return shares between 0 and 1": 100 * expected,
            "the order is share, low, high": expected[[1, 0, 2]],
        }
        because = _cause(
            got,
            causes,
            "agreement is the share of records that get the same label from both; its interval is the exact one of a share\nargmax of both; stats.clopper_pearson(hits, n) has the ends",
        )
        if np.isclose(got[0], (np.abs(victim - thief) < 1e-9).mean()):
            because = "compare labels (argmax), not logits: no two models give equal numbers"
        raise Wrong(given=given, got=got, expected=expected, because=because)


def _lower_end(hits: int, trials: int) -> float:
    """Return the rate at which ``hits`` or more of ``trials`` come with probability 2.5%, by bisection."""
    from scipy.stats import binom

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binom.sf(hits - 1, trials, middle) < 0.025 else (low, middle)
    return low


def reference_mark_p_value(hits: int, n: int, null_hits: np.ndarray) -> float:
    """Return the binomial tail of ``hits`` of ``n`` at the highest rate among null models."""
    from labkit.watermark.verification.binomial import tail

    return tail(hits, n, max(null_hits) / n)


@exercise(
    "07.mark_p_value",
    title="could an innocent model do that?",
    reference=reference_mark_p_value,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_mark_p_value(attempt: Callable) -> None:
    """Against the binomial sum, term by term."""
    for hits, n, null in ((28, 100, [4, 10, 7]), (9, 20, [3, 0, 8, 5]), (18, 50, [5, 1, 2])):
        given = f"{hits} of {n} triggers hit; null models hit {null}"
        law = _law(n, max(null) / n)
        expected = sum(law[hits:])
        (got,) = _numbers([attempt(hits, n, np.array(null))], 1, given, "a p-value")
        if math.isclose(got, expected, rel_tol=1e-4):
            continue
        because = "a tail of the binomial law: at which rate does the likeliest innocent hit, and what is at least as extreme?"
        causes = {
            sum(_law(n, 0.1)[hits:]): (
                "that tests against 1/10, one over the number of classes; how often an innocent model hits is an "
                "observation, and null models are the only witnesses"
            ),
            sum(_law(n, float(np.mean(null)) / n)[hits:]): (
                "that is the average null model: half of all innocents hit more often than it; take the highest rate"
            ),
            sum(
                law[hits + 1 :]
            ): "that is the chance of *more* hits: what was seen counts too\nsf(hits - 1), not sf(hits)",
            law[
                hits
            ]: "that is the probability of exactly so many; a p-value adds all that is at least as extreme",
            (1 + sum(h >= hits for h in null)) / (1 + len(null)): (
                "that is the rank p-value: valid, but with so few null models it can never be small"
            ),
        }
        # The case with null hits of 10 in 100 cannot tell 1/10 from the highest rate: the others do.
        because = next(
            (text for wrong, text in causes.items() if math.isclose(got, wrong, rel_tol=1e-4)), because
        )
        raise Wrong(given=given, got=f"{got:.3g}", expected=f"{expected:.3g}", because=because)


def _law(n: int, rate: float) -> list[float]:
    return [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]


def reference_paired(marked: np.ndarray, unmarked: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean difference, its 95% interval over pairs, and the difference that 80% of such studies would see."""
    from labkit import stats
    from labkit.watermark.privacy.leakage import visible_difference

    gaps = marked - unmarked
    found = stats.mean_interval(gaps)
    return found.estimate, found.low, found.high, visible_difference(float(gaps.std(ddof=1)), len(gaps))


@exercise(
    "07.paired",
    title="did it change anything, and could you have seen it?",
    reference=reference_paired,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_paired(attempt: Callable) -> None:
    """Against textbook quantiles of Student's t (two-sided 5%, and one-sided 20%) for 4 and 2 degrees of freedom."""
    quantiles = {5: (2.7764451, 0.9409646), 3: (4.3026527, 1.0606602)}
    rng = np.random.default_rng(0)
    for pairs in (5, 3):
        unmarked = rng.normal(0.7, 0.05, pairs)
        marked = unmarked + rng.normal(0.004, 0.003, pairs)
        given = f"{pairs} pairs of values, marked {marked.round(4)} and unmarked {unmarked.round(4)}"
        gaps = marked - unmarked
        error = math.sqrt(sum((gaps - gaps.mean()) ** 2) / (pairs - 1) / pairs)
        outer, inner = quantiles[pairs]

        def made(mean: float, width: float, seen: float) -> np.ndarray:
            return np.array([mean, mean - width, mean + width, seen])

        expected = made(gaps.mean(), outer * error, (outer + inner) * error)
        got = _numbers(
            attempt(marked.copy(), unmarked.copy()),
            4,
            given,
            "mean difference, low, high, smallest visible difference",
        )
        if np.allclose(got, expected, rtol=1e-4):
            continue
        apart = math.sqrt((marked.var(ddof=1) + unmarked.var(ddof=1)) / pairs)
        because = _why_not_paired(got, expected, error, outer, pairs, apart)
        raise Wrong(given=given, got=got, expected=expected, because=because)


def _why_not_paired(
    got: np.ndarray, expected: np.ndarray, error: float, outer: float, pairs: int, apart: float
) -> str:
    """Return the likely cause of four wrong numbers; ``apart`` is the standard error of two unrelated groups."""
    width = (got[2] - got[1]) / 2
    if math.isclose(got[0], -expected[0], rel_tol=1e-6):
        return "the sign is turned: marked minus unmarked"
    if math.isclose(width, outer * error * math.sqrt((pairs - 1) / pairs), rel_tol=1e-3):
        return "the standard deviation is that of a whole population here; these pairs are a sample\ndivide by n - 1 (ddof=1)"
    if math.isclose(width, 1.959964 * error, rel_tol=1e-3):
        return "that takes the normal law's quantile: with so few pairs Student's t reaches further\nn - 1 degrees of freedom, not 1.96"
    if math.isclose(width, outer * error * math.sqrt(pairs), rel_tol=1e-3):
        return "that is the spread of single pairs: the mean's standard error divides by the root of n"
    # From the normal law's quantile to the one of Student's t with n - 1 degrees, whichever was taken.
    if math.isclose(got[0], expected[0], rel_tol=1e-6) and 1.95 * apart < width < 1.01 * outer * apart:
        return (
            "that treats the two groups as unrelated, and drowns the effect in the spread between seeds: take the "
            "differences first"
        )
    if math.isclose(got[3], outer * error, rel_tol=1e-3):
        return (
            "visible is only the interval's half-width: a true difference of that size would be found in half of all "
            "studies; for 80% add the t quantile at 80%"
        )
    return "the interval is one of the differences; what could be seen is a multiple of the same standard error, larger than the half-width\nvisible = (t at 97.5% + t at 80%) * their standard error"
