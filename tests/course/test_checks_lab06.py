"""Lab 06's checks, proven: stub, at least two named mistakes each, and a right answer that is not the shipped one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from proofs import prove_mistake, prove_right
from scipy.stats import beta, binom, chi2


def cp(hits: int, n: int) -> tuple[float, float]:
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    return low, (beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0)


def roc(tp: int, p: int, fp: int, n: int, **_: float) -> float:
    return max(0.0, math.log(cp(tp, p)[0] / cp(fp, n)[1]))


def marks(scores: np.ndarray, top: int, bottom: int) -> np.ndarray:
    ranks = scores.argsort().argsort()
    return (ranks >= len(scores) - top).astype(int) - (ranks < bottom).astype(int)


def minus_zero(scores: np.ndarray, top: int, bottom: int) -> np.ndarray:
    order, found = (-scores).argsort(), np.zeros(len(scores))
    found[order[-bottom:]] = -1
    found[order[:top]] = 1
    return found


def root(level: float) -> Callable:
    def attempt(correct: int, guesses: int, confidence: float = 0.95) -> float:
        rate = beta.ppf(level, correct, guesses - correct + 1)
        return max(0.0, math.log(rate / (1 - rate)))

    return attempt


def rate(epsilon: float) -> float:
    return 1 / (1 + math.exp(-epsilon))


def chance(
    g: int, e: float, a: float, *, level: float = 0.05, off: int = 0, at: float | None = None
) -> float:
    needed = next((c for c in range(g + 1) if binom.sf(c - 1, g, rate(e)) <= level), g + 1)
    return float(sum(binom.pmf(k, g, a if at is None else at) for k in range(needed + off, g + 1)))


def strength(noise: np.ndarray, sigma: float, *, levels: tuple = (0.975, 0.025), lost: int = 0) -> tuple:
    mean = noise.mean() if lost else 0.0
    return tuple(
        np.sqrt(((noise - mean) ** 2).sum() / chi2.isf(1 - p, len(noise) - lost)) / sigma for p in levels
    )


RIGHT = {
    "06.power": chance,
    "06.noise_strength": strength,
    "06.roc_to_epsilon": roc,
    "06.guesses": marks,
    "06.p_value": lambda v, r, e: binom.sf(v - 1, r, rate(e)),
    "06.one_run_epsilon": root(0.05),
    "06.white_box_score": lambda u, g: g @ u.sum(0),
    "06.verdict": lambda p, confidence=0.95: [k for k in p if p[k] * len(p) <= 1 - confidence],
}
MISTAKES = [
    ("06.power", lambda g, e, a: chance(g, e, a, at=rate(e)), "false alarm rate"),
    ("06.power", lambda g, e, a: chance(g, e, a, off=1), "the smallest number"),
    ("06.power", lambda g, e, a: 1 - chance(g, e, a), "chance of missing"),
    ("06.power", lambda g, e, a: chance(g, e, a) if g > 10 else 1.0, "no outcome refutes"),
    ("06.noise_strength", lambda z, s: strength(z, s)[::-1], "the ends are swapped: the"),
    ("06.noise_strength", lambda z, s: strength(z, 1.0), "divide by sigma"),
    ("06.noise_strength", lambda z, s: strength(z, s, lost=1), "no degree of freedom is lost"),
    ("06.noise_strength", lambda z, s: strength(z, s, levels=(0.95, 0.05)), "2.5% on each side"),
    ("06.noise_strength", lambda z, s: [v**2 for v in strength(z, s)], "those are variances: take"),
    ("06.guesses", lambda s, t, b: marks(s, t, b).tolist(), "return a NumPy array"),
    ("06.white_box_score", lambda u, g: (u @ g.T).sum(0).tolist(), "return a NumPy array"),
    ("06.roc_to_epsilon", lambda tp, p, fp, n: math.log((tp / p) / max(fp / n, 1e-12)), "without intervals"),
    (
        "06.roc_to_epsilon",
        lambda tp, p, fp, n: math.log(cp(tp, p)[1] / max(cp(fp, n)[0], 1e-12)),
        "the ends are swapped: a",
    ),
    ("06.roc_to_epsilon", lambda tp, p, fp, n: math.log(cp(tp, p)[0] / cp(fp, n)[1]), "never negative"),
    ("06.guesses", lambda s, t, b: -marks(s, t, b), "signs are turned"),
    ("06.guesses", minus_zero, "[-0:]"),
    ("06.guesses", lambda s, t, b: np.where(s > np.median(s), 1, -1), "one abstains"),
    ("06.p_value", lambda v, r, e: binom.sf(v, r, rate(e)), "what was seen counts too"),
    ("06.p_value", lambda v, r, e: binom.pmf(v, r, rate(e)) if v < r else 2.0, "how often may"),
    ("06.p_value", lambda v, r, e: binom.sf(v - 1, r, 0.5), "fair coin"),
    ("06.one_run_epsilon", lambda v, r: math.log(v / max(r - v, 1e-9)), "log odds"),
    ("06.one_run_epsilon", root(0.025), "one side only"),
    ("06.one_run_epsilon", root(0.95), "must end at p = 1 - confidence"),
    ("06.white_box_score", lambda u, g: u @ g.T, "that is one number per step and"),
    ("06.white_box_score", lambda u, g: np.abs(u @ g.T).sum(0), "sign matters"),
    ("06.white_box_score", lambda u, g: u[-1] @ g.T, "only the last step"),
    ("06.verdict", lambda p: {k for k in p if p[k] <= 0.05}, "each was tested at 5%"),
    ("06.verdict", lambda p: {k for k in p if p[k] > 0.01}, "wrong way round"),
    ("06.verdict", lambda p: {k for k in p if p[k] <= 0.01}, "with one test nothing is shared"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted_and_a_right_answer_passes(name: str) -> None:
    prove_right(name, RIGHT[name])


@pytest.mark.parametrize(
    ("name", "attempt", "message"), MISTAKES, ids=[f"{m[0]}-{m[2][:24]}" for m in MISTAKES]
)
def test_a_mistake_is_named(name: str, attempt: Callable, message: str) -> None:
    prove_mistake(name, attempt, message)
