"""Checks of lab 01 on what an attacker can do: the ceiling of the ROC curve, and the floating-point attack."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise, expect_close


@exercise(
    "01.roc_ceiling",
    title="the ceiling on every attacker",
    points=2,
    difficulty=3,
    importance=5,
    minutes=8,
    reference="labkit.dp.accounting.ceiling:roc_ceiling",
)
def check_roc_ceiling(attempt: Callable) -> None:
    """The best test there is (Neyman and Pearson) against the worst (ε, δ)-DP mechanism there is."""
    fpr = np.array([0.0, 0.001, 0.05, 0.2, 0.4, 0.7, 0.95, 1.0])
    for epsilon, delta in ((1.0, 0.0), (0.3, 0.1), (3.0, 0.01)):
        given = {"fpr": fpr, "epsilon": epsilon, "delta": delta}
        got, best = attempt(fpr, epsilon, delta), _best_test(fpr, epsilon, delta)
        _name_ceiling_mistake(got, fpr, epsilon, delta, best, given)
        because = "the promise holds with the worlds swapped as well, so there are two lines: which of them is lower, at a small and at a large rate?"
        expect_close(got, best, given=given, because=because, rtol=1e-9, atol=1e-9)


def _best_test(fpr: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """Return the power of the likelihood-ratio test between the two worlds of the worst-case mechanism.

    Kairouz, Oh & Viswanath (2015, arXiv 1311.0776, section 3): four outcomes, two of which give the world away.
    """
    keep = (1 - delta) / (1 + math.exp(-epsilon))
    member = np.array([delta, keep, 1 - delta - keep, 0.0])  # by falling likelihood ratio
    outsider = member[::-1]
    return np.interp(fpr, np.cumsum(outsider), np.cumsum(member))


def _name_ceiling_mistake(
    got: Any, fpr: np.ndarray, epsilon: float, delta: float, best: np.ndarray, given: Any
) -> None:
    """Raise with the cause when the attempt is one of the usual half-truths."""
    growth = math.exp(epsilon)
    steep, flat = growth * fpr + delta, 1 - (1 - delta - fpr) / growth
    slips = [
        (steep, "a rate cannot exceed 1: the first line alone leaves the unit square"),
        (
            np.minimum(steep, 1),
            "one line is missing: the same promise with the worlds swapped, for what the test does *not* accept, is lower on the right",
        ),
        (
            np.minimum(growth * fpr, 1 - (1 - fpr) / growth),
            "δ is missing: with probability δ the promise may fail altogether (the worst case, which the ceiling allows for; in general δ is an excess of probability, not the chance that everything leaks)",
        ),
        (
            np.minimum(2**epsilon * fpr + delta, 1 - (1 - delta - fpr) / 2**epsilon),
            "ε is a natural logarithm, and powers of 2 were taken\nuse e^ε, not 2^ε",
        ),
        (
            np.maximum(steep, flat),
            "both lines hold at once, so the ceiling is the lower of the two, not the higher",
        ),
    ]
    for value, because in slips:
        same_shape = np.shape(got) == value.shape
        if same_shape and np.allclose(got, value, rtol=1e-9) and not np.allclose(value, best, rtol=1e-9):
            raise Wrong(given=given, got=got, expected=best, because=because)


@exercise(
    "01.reachable",
    title="which answer can this double come from?",
    points=3,
    difficulty=4,
    importance=3,
    minutes=12,
    reference="labkit.dp.mechanisms.floating_point:laplace_reachable",
)
def check_reachable(attempt: Callable) -> None:
    """Never false for a double that was released; otherwise as found by running thousands of uniforms forwards."""
    from labkit.dp.mechanisms.floating_point import naive_laplace

    for scale, truth, candidate in ((1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (10.0, 1.0, 0.0), (0.5, 0.25, 0.25)):
        released = naive_laplace(np.full(500, truth), scale, np.random.default_rng(2))
        given = {
            "released": f"500 releases of the answer {truth:g}",
            "value": candidate,
            "scale": scale,
        }
        got = np.asarray(attempt(released.copy(), candidate, scale))
        if got.shape != released.shape or got.dtype != bool:
            because = "one True or False for each released double: an array of bool of the same shape"
            raise Wrong(
                given=given,
                got=f"{got.dtype} of shape {got.shape}",
                expected="bool of shape (500,)",
                because=because,
            )
        _compare_reachable(got, released, candidate, scale, given)


def _reachable_by_force(
    released: np.ndarray, value: float, scale: float, log: Callable[[Any], Any] = np.log
) -> np.ndarray:
    """Run the sampler forwards on 1,001 uniforms around the only one that can have given each release."""
    noise = released - value
    centre = np.rint(np.exp(-np.abs(noise) / scale) * 2**53)
    uniforms = np.clip(centre[:, None] + np.arange(-500, 501), 1, 2**53) / 2**53
    outputs = value + np.copysign(1.0, noise)[:, None] * (-scale * log(uniforms))
    return (outputs == released[:, None]).any(axis=1)


def _compare_reachable(got: np.ndarray, released: np.ndarray, value: float, scale: float, given: Any) -> None:
    """Raise with the likely cause where the attempt differs from brute force."""
    possible = _reachable_by_force(released, value, scale)
    missed, invented = possible & ~got, got & ~possible
    if not missed.any() and not invented.any():
        return
    expected = f"{possible.sum()} of {possible.size} reachable"
    if missed.any():
        raise Wrong(
            given=given,
            got=f"{missed.sum()} reachable doubles denied",
            expected=expected,
            because=_why_missed(missed, possible, released, value, scale),
        )
    because = (
        "every double counts as reachable: the sampler's uniforms are not all the numbers there are, but lie on a grid\nround the recovered uniform to a multiple of 2^-53 before replaying it"
        if got.all()
        else "doubles that no uniform gives are called reachable: nearly equal is not equal, and the uniforms lie on a grid\ncompare with ==, not within a tolerance, and replay only multiples of 2^-53"
    )
    raise Wrong(
        given=given, got=f"{invented.sum()} unreachable doubles allowed", expected=expected, because=because
    )


def _why_missed(
    missed: np.ndarray, possible: np.ndarray, released: np.ndarray, value: float, scale: float
) -> str:
    """Tell a lost sign (one whole side) and another logarithm (math.log fails on the very same) from a small window."""
    for side in (released > value, released < value):
        if (possible & side).any() and np.array_equal(missed & side, possible & side):
            if (missed & ~side).any():
                break  # both sides suffer: not the sign
            return "releases on one side of the answer are called impossible: the noise has a sign, and |noise| loses it"
    few = missed.sum() <= 20  # math.log misses about 1 in 500, and going through them all is slow
    if few and not _reachable_by_force(released[missed], value, scale, np.vectorize(math.log)).any():
        return "math.log rounds some numbers another way than np.log: use np.log, as the sampler does"
    return (
        "releases that did come from this answer are called impossible: rounding moves the uniform by a few steps, so"
        " try its neighbours too, and replay the sampler's own operations (np.log, not math.log) in its own order"
    )
