"""The one-run audit against a whole trade-off curve, not one (ε, δ) point of it.

Mahloujifar, Melis & Chaudhuri, "Auditing f-differential privacy in one run", arXiv 2410.22235. A Gaussian mechanism is
(ε, δ)-DP for every ε at once. Testing right guesses against the whole curve refutes wrong claims that each single
(ε, δ) pair would survive, and gets much closer to the truth for a correct mechanism.

Why it holds. Let m coins be flipped, r guesses made, A of them right, and compare a canary with itself after its coin
is turned: "right, and at least c - 1 of the others right" becomes "wrong, and at least c - 1 of the others right". So

    y[c-1] >= floor(x[c]),   x[c] = E[A; A >= c] / m,   y[c] = E[r - A; A >= c] / m,

where ``floor(x)`` is the least probability that an event of probability x can have under the neighbour. `p_value` walks
c down from what was seen and asks whether the probabilities can still add up to 1.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from labkit.audit.bounds import _check_confidence, _largest_refuted, check_guesses

if TYPE_CHECKING:
    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True)
class Curve:
    """A claim of privacy as a curve.

    Attributes
    ----------
    floor : callable
        Maps the probability x of an event to the least that it can be under a neighbouring data set: convex, rising,
        floor(0) = 0, floor(x) <= x. In the notation of Dong, Roth & Su (arXiv 1905.02383) it is f(1 - x).
    name : str
        For titles.
    """

    floor: Callable[[float], float] = field(repr=False)
    name: str

    def caught(self, false_positive_rate: float) -> float:
        """Return the largest true positive rate at this false positive rate: the ROC curve of the best attack."""
        return 1 - self.floor(1 - false_positive_rate)


def gaussian_curve(mu: float) -> Curve:
    """Return the curve of μ-GDP: telling N(0, 1) from N(μ, 1) (arXiv 1905.02383, definition 3)."""
    from scipy.special import ndtr, ndtri

    if not mu >= 0:
        raise ValueError(f"mu is {mu}; expected a number >= 0")
    return Curve(lambda x: float(ndtr(ndtri(x) - mu)) if 0 < x < 1 else float(x), f"μ = {mu:.3g} (GDP)")


def lines_curve(epsilons: np.ndarray, deltas: np.ndarray, name: str) -> Curve:
    """Return the curve that many (ε, δ) pairs imply together: the highest of their lines, so never too high itself."""
    epsilons, deltas = np.atleast_1d(epsilons).astype(float), np.atleast_1d(deltas).astype(float)
    slopes = np.concatenate([np.exp(-epsilons), np.exp(epsilons), [0.0]])
    heights = np.concatenate([-np.exp(-epsilons) * deltas, 1 - deltas - np.exp(epsilons), [0.0]])
    lines, starts = _upper_envelope(slopes, heights)

    def floor(x: float) -> float:
        slope, height = lines[bisect.bisect_right(starts, x)]
        return slope * x + height

    return Curve(floor, name)


def _upper_envelope(slopes: np.ndarray, heights: np.ndarray) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the lines that are highest somewhere, from left to right, and where each but the first takes over."""
    lines: list[tuple[float, float]] = []
    starts: list[float] = []
    for slope, height in sorted(zip(slopes.tolist(), heights.tolist(), strict=True)):
        if lines and slope == lines[-1][0]:  # the later of two parallels is the higher
            lines.pop()
            starts = starts[: max(0, len(lines) - 1)]
        while lines:
            crossing = (lines[-1][1] - height) / (slope - lines[-1][0])
            if not starts or crossing > starts[-1]:
                starts.append(crossing)
                break
            lines.pop()
            starts.pop()
        lines.append((slope, height))
    return lines, starts


@lru_cache(maxsize=32)  # δ(ε) of a fine distribution takes a second
def claimed_curve(statement: PrivacyStatement) -> Curve:
    """Return the curve that a privacy statement claims, from 150 points of its δ(ε)."""
    epsilons = np.linspace(0.0, 1.5 * statement.epsilon + 1, 150)
    return lines_curve(epsilons, np.asarray(statement.delta_at(epsilons)), str(statement))


def fits(curve: Curve, correct: int, guesses: int, canaries: int, tail: float) -> bool:
    """Whether P[A >= correct] = ``tail`` fits the curve: algorithm 2 of arXiv 2410.22235, with abstentions."""
    right, wrong = tail * correct / canaries, tail * (guesses - correct) / canaries
    share = guesses / canaries
    for count in range(correct - 1, -1, -1):
        more = max(wrong, curve.floor(right))
        right += (more - wrong) * count / (guesses - count)
        wrong = more
        if right + wrong > share:
            return False
    return True


def p_value(curve: Curve, correct: int, guesses: int, canaries: int | None = None) -> float:
    """Return the largest probability of ``correct`` or more right guesses under ``curve``, to within 1%.

    Parameters
    ----------
    correct, guesses, canaries : int
        As in `labkit.audit.bounds.one_run_p_value`.

    Returns
    -------
    float
        In [1e-12, 1]; rounded up, never down.
    """
    canaries = guesses if canaries is None else canaries
    check_guesses(correct, guesses, canaries)
    if correct == 0 or fits(curve, correct, guesses, canaries, 1.0):
        return 1.0
    low, high = math.log(1e-12), 0.0
    if not fits(curve, correct, guesses, canaries, 1e-12):
        return 1e-12
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if fits(curve, correct, guesses, canaries, math.exp(middle)) else (low, middle)
        )
    return math.exp(high)


def gaussian_mu(
    correct: int, guesses: int, canaries: int | None = None, *, confidence: float = 0.95
) -> float:
    """Return the largest μ whose Gaussian curve the guesses refute at this confidence (0 if none)."""
    _check_confidence(confidence)
    canaries = guesses if canaries is None else canaries
    check_guesses(correct, guesses, canaries)
    if correct == 0:
        return 0.0
    level = 1 - confidence

    def refuted(mu: float) -> float:  # 0 when refuted, 1 when not: it rises with mu, as a p-value does
        return float(fits(gaussian_curve(mu), correct, guesses, canaries, level))

    return _largest_refuted(refuted, 0.5)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the ε at which μ-GDP spends exactly δ (arXiv 1905.02383, corollary 1)."""
    from labkit.dp.mechanisms.additive import gaussian_delta

    if mu == 0:
        return 0.0
    if not 0 < delta < 1:
        raise ValueError(
            f"delta is {delta}; expected 0 < delta < 1: a Gaussian has no finite epsilon at delta = 0"
        )
    return _largest_refuted(lambda epsilon: -float(gaussian_delta(epsilon, 1 / mu)), -delta)


def one_run_epsilon(
    correct: int,
    guesses: int,
    *,
    delta: float,
    canaries: int | None = None,
    confidence: float = 0.95,
) -> float:
    """Return a lower bound on ε at ``delta``, for a mechanism whose curve is (at least) a Gaussian's.

    DP-SGD of many steps is close to Gaussian (arXiv 1905.02383, section 5), so this is the figure to set beside its
    claimed ε. It is a bound on ε under that assumption only; `p_value` with `claimed_curve` tests a claim without it.
    """
    return gaussian_epsilon(gaussian_mu(correct, guesses, canaries, confidence=confidence), delta)
