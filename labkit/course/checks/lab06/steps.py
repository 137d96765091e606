"""Checks of lab 06: what an audit sees, from its power to the noise of single steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from labkit.course.checks.lab06.expecting import expect_array, expect_number
from labkit.course.exercises.exercise import Wrong, exercise, expect_close


def reference_power(guesses: int, epsilon: float, accuracy: float) -> float:
    """Return the probability that guesses of this accuracy refute the claim ε (δ = 0) at 95% confidence."""
    from scipy.stats import binom

    from labkit.audit.bounds import one_run_p_value

    needed = next(
        (c for c in range(guesses + 1) if one_run_p_value(c, guesses, epsilon) <= 0.05), guesses + 1
    )
    return float(binom.sf(needed - 1, guesses, accuracy))


@exercise(
    "06.power",
    title="would this audit have seen it?",
    reference=reference_power,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_power(attempt: Callable) -> None:
    """Against the sum over all outcomes that refute; with 300 guesses, another level is several guesses away."""
    for guesses, epsilon, accuracy in ((300, 1.0, 0.78), (100, 1.0, 1 / (1 + math.exp(-1))), (30, 0.0, 0.8)):
        given = f"{guesses} guesses, claim ε = {epsilon}, each right with probability {accuracy:.3f}"
        claimed, real = _law(guesses, 1 / (1 + math.exp(-epsilon))), _law(guesses, accuracy)
        tails = np.cumsum(claimed[::-1])[::-1]
        refuting = tails <= 0.05
        first = int(np.argmax(refuting))
        causes = {
            float(
                tails[first]
            ): "that is the chance under the claim, which is the false alarm rate: the guesses are right "
            "with `accuracy`",
            float(
                real[first + 1 :].sum()
            ): "the smallest number that refutes counts too\nsf(needed - 1), not sf(needed)",
            float(real[first]): "that is the chance of exactly that number: all larger ones refute as well",
            float(real[:first].sum()): "that is the chance of missing it",
        }
        otherwise = (
            "first: from which number of right guesses on is the claim refuted? Then: how likely are so many?"
        )
        expect_number(
            attempt(guesses, epsilon, accuracy),
            float(real[first:].sum()),
            given,
            causes,
            otherwise,
            tolerance=1e-6,
        )
    none = attempt(3, 3.0, 1.0)
    if not (isinstance(none, int | float) and abs(none) < 1e-9):
        raise Wrong(
            given="3 guesses, claim ε = 3.0, accuracy 1",
            got=none,
            expected="0",
            because="three right guesses happen too often under ε = 3: no outcome refutes, so the power is 0",
        )


def _law(trials: int, rate: float) -> np.ndarray:
    """Return the binomial law, term by term."""
    return np.array([math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)])


def reference_projections(updates: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return, for each row of ``directions`` (m, d), its inner products with ``updates`` (steps, d), added up: (m,)."""
    return (updates @ directions.T).sum(0)


@exercise(
    "06.white_box_score",
    title="score a canary by every update",
    reference=reference_projections,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_white_box_score(attempt: Callable) -> None:
    """Against a double loop over steps and canaries."""
    rng = np.random.default_rng(0)
    updates, directions = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    expected = [sum(float(np.dot(u, g)) for u in updates) for g in directions]
    got = expect_array(
        attempt(updates.copy(), directions.copy()), "5 updates and 3 directions of 4 parameters"
    )
    because = "one number for each canary: the sum over steps of <update, direction>"
    shape = np.shape(got)
    if shape == (5, 3) or shape == (3, 5):
        because = "that is one number per step and canary: add up over the steps"
    elif shape == (5,):
        because = "that is one number per step: add up over the steps, not over the canaries"
    elif shape == (3,) and np.allclose(got, np.abs(updates @ directions.T).sum(0)):
        because = "the sign matters: a canary pushes the update in its own direction, so no absolute values"
    elif shape == (3,) and np.allclose(got, updates[-1] @ directions.T):
        because = "only the last step was used; each step tells a little"
    if shape != (3,):
        raise Wrong(
            given="updates of shape (5, 4), directions of shape (3, 4)",
            got=f"shape {shape}",
            expected="shape (3,)",
            because=because,
        )
    expect_close(got, expected, given="5 updates and 3 directions of 4 parameters", because=because)


def reference_verdict(p_values: dict[int, float], confidence: float = 0.95) -> set[int]:
    """Return the numbers whose claim is refuted, with all tests together wrong at most 1 - confidence of the time."""
    return {name for name, p in p_values.items() if p <= (1 - confidence) / len(p_values)}


@exercise(
    "06.verdict",
    title="accuse several at once, and stay fair",
    reference=reference_verdict,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_verdict(attempt: Callable) -> None:
    """Where single tests, shares of the false discovery rate and shares of the whole risk differ; Holm's method passes."""
    p_values = {1: 0.004, 2: 0.045, 3: 0.6, 4: 1e-9, 5: 0.02}
    given = f"p-values {p_values}, confidence 95%"
    got = attempt(dict(p_values))
    try:
        found = set(got)
    except TypeError:
        found = {None}
    if any(isinstance(name, bool) or name not in p_values for name in found):
        raise Wrong(given=given, got=got, expected={1, 4}, because="return the set of refuted numbers")
    if found == {1, 2, 4, 5}:
        because = "each was tested at 5%: five correct functions would then be accused in up to 25% of audits; divide"
    elif found == {2, 3, 5}:
        because = "the wrong way round: a small p-value refutes"
    else:
        because = "the risk of 5% is one for the whole audit, so all functions share it\naccuse where p <= 0.05 / (number of functions tested)"
    if found != {1, 4}:
        raise Wrong(given=given, got=found, expected={1, 4}, because=because)
    if set(attempt({7: 0.04})) != {7}:
        raise Wrong(
            given="one p-value, 0.04",
            got=attempt({7: 0.04}),
            expected={7},
            because="with one test nothing is shared",
        )


def reference_noise_strength(noise: np.ndarray, sigma: float) -> tuple[float, float]:
    """Return a 95% interval for the standard deviation of ``noise`` (of known mean 0), divided by ``sigma``."""
    from scipy.stats import chi2

    total, count = float((noise**2).sum()), noise.size
    low, high = (math.sqrt(total / chi2.ppf(level, count)) / sigma for level in (0.975, 0.025))
    return low, high


@exercise(
    "06.noise_strength",
    title="how strong was the noise?",
    reference=reference_noise_strength,
    points=2,
    difficulty=3,
    importance=4,
    minutes=10,
)
def check_noise_strength(attempt: Callable) -> None:
    """Against the ends that bisection finds on the χ² law, for few numbers, where shortcuts show."""
    rng = np.random.default_rng(0)
    for count, sigma in ((12, 2.0), (40, 0.5)):
        noise = rng.normal(scale=0.8 * sigma, size=count)
        given = f"{count} numbers, sigma={sigma}"
        total = float((noise**2).sum())
        low, high = (math.sqrt(total / _chi2_point(level, count)) / sigma for level in (0.975, 0.025))
        root = math.sqrt(total / count) / sigma
        got = attempt(noise.copy(), sigma)
        if not isinstance(got, tuple | list | np.ndarray) or len(got) != 2:
            raise Wrong(given=given, got=got, expected=(low, high), because="return two numbers, (low, high)")
        found = tuple(float(end) for end in got)
        normal = (root * (1 - 1.96 / math.sqrt(2 * count)), root * (1 + 1.96 / math.sqrt(2 * count)))
        less = float(((noise - noise.mean()) ** 2).sum())
        causes = [
            ((high, low), "the ends are swapped: the larger χ² point gives the lower end"),
            ((low * sigma, high * sigma), "that is the noise itself: divide by sigma"),
            ((low**2, high**2), "those are variances: take the square root"),
            ((low**2 * sigma, high**2 * sigma), "those are variances over sigma: root first, then divide"),
            (normal, "the normal shortcut: with few numbers the χ² law is not symmetric"),
            (
                tuple(math.sqrt(less / _chi2_point(p, count - 1)) / sigma for p in (0.975, 0.025)),
                "the mean is known to be 0: nothing is to be subtracted, and no degree of freedom is lost",
            ),
            (
                tuple(math.sqrt(total / _chi2_point(p, count)) / sigma for p in (0.95, 0.05)),
                "that covers 90%: leave 2.5% on each side",
            ),
        ]
        if not np.allclose(found, (low, high), rtol=1e-4):
            because = next(
                (text for ends, text in causes if np.allclose(found, ends, rtol=1e-3)),
                "solve the docstring's statement on the sum of squares for the true variance, at both ends of the law",
            )
            raise Wrong(given=given, got=found, expected=(low, high), because=because)


def _chi2_point(level: float, degrees: int) -> float:
    """Return the point below which a χ² law has ``level``, by bisection on its distribution function."""
    from scipy.special import gammainc

    low, high = 0.0, 10.0 * degrees + 50
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gammainc(degrees / 2, middle / 2) < level else (low, middle)
    return low
