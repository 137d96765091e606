"""Checks of lab 13, first part: an ε computed anew, and the sampler behind a log of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise

SAMPLERS = ("poisson", "epochs", "fixed size")


def reference_recompute_epsilon(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, batches: str
) -> float:
    """Return ε by PLD for batches by coin flips, or for epochs, which hide nothing."""
    from labkit import dp

    sampler = {"poisson": "poisson", "epochs": "fixed"}[batches]
    event = dp.SampledGaussian(noise_multiplier, steps, sample_rate, sampler)
    return dp.privacy_statement(event, delta=delta).epsilon


def _gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Solve the exact δ of one Gaussian release for ε (Balle & Wang, arXiv 1805.06530, theorem 8)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def excess(epsilon: float) -> float:
        first = norm.cdf(0.5 / noise_multiplier - epsilon * noise_multiplier)
        second = norm.logcdf(-0.5 / noise_multiplier - epsilon * noise_multiplier)
        return float(first - math.exp(epsilon + second) - delta)

    return float(brentq(excess, 0.0, 500.0))


@exercise(
    "13.recompute_epsilon",
    title="what may be claimed for these batches",
    reference=reference_recompute_epsilon,
    points=3,
    difficulty=2,
    importance=5,
    minutes=12,
)
def check_recompute_epsilon(attempt: Callable) -> None:
    """Epochs against the closed form of Gaussian releases, coin flips against labkit's PLD."""
    from labkit import dp

    for noise, rate, steps, delta in ((3.0, 0.1, 200, 1e-5), (1.5, 0.05, 60, 1e-6), (2.0, 0.25, 12, 1e-4)):
        epochs = steps * rate
        poisson = dp.privacy_statement(dp.SampledGaussian(noise, steps, rate), delta=delta)
        own = {
            "poisson": poisson.epsilon,
            "epochs": _gaussian_epsilon(noise / math.sqrt(epochs), delta),
        }
        causes = {
            "poisson": [
                (own["epochs"], "that is the figure of epochs: coin flips hide who is in a batch"),
                (
                    _gaussian_epsilon(noise / math.sqrt(steps), delta),
                    "every record in every step? Each joins with a small probability only",
                ),
                (poisson.epsilons["RDP"], "that is RDP's bound, true but larger; the claim names PLD"),
            ],
            "epochs": [
                (
                    own["poisson"],
                    "that is the figure of coin flips again: it does not depend on how the batches were drawn",
                ),
                (
                    _gaussian_epsilon(noise / math.sqrt(steps), delta),
                    "that has each record in every step; in epochs it is in one step of each epoch",
                ),
                (
                    _gaussian_epsilon(noise, delta),
                    "that is one epoch alone; the record comes again in each of them",
                ),
                (
                    epochs * _gaussian_epsilon(noise, delta),
                    "valid but far too large: ε does not simply add up, let an accountant compose the epochs",
                ),
            ],
        }
        for batches in ("poisson", "epochs"):
            given = {"noise": noise, "rate": rate, "steps": steps, "delta": delta, "batches": batches}
            got = _number(attempt(noise, rate, steps, delta, batches), given)
            expected = own[batches]
            if math.isclose(got, expected, rel_tol=0.02):
                continue
            wrong = [*causes[batches], *_with_default_delta(noise, rate, steps, batches, delta)]
            because = next((text for value, text in wrong if math.isclose(got, value, rel_tol=0.005)), "")
            otherwise = {
                "poisson": "account for the steps as they are described: noise, rate, number, δ",
                "epochs": "how many noisy sums is one record part of, and does anything hide in which?",
            }
            raise Wrong(
                given=given,
                got=f"{got:.3f}",
                expected=f"{expected:.3f}",
                because=because or otherwise[batches],
            )


def _with_default_delta(
    noise: float, rate: float, steps: int, batches: str, delta: float
) -> list[tuple[float, str]]:
    if delta == 1e-5:
        return []
    text = f"that is ε for δ = 1e-5; the δ of this claim is {delta:g}"
    return [(reference_recompute_epsilon(noise, rate, steps, 1e-5, batches), text)]


def _number(got: Any, given: Any) -> float:
    because = "return one number: an ε, not the whole statement" if hasattr(got, "epsilon") else ""
    try:
        found = float(got)
    except (TypeError, ValueError):
        because = because or "return one number, the ε"
        raise Wrong(given=given, got=got, expected="a number", because=because) from None
    if not math.isfinite(found):
        raise Wrong(given=given, got=got, expected="a finite number", because="the result is not finite")
    return found


def reference_sampler_of(batches: Sequence[np.ndarray], n: int) -> str:
    """Return how the batches were drawn, from the records in them."""
    if _in_epochs(batches, n):
        return "epochs"
    return "fixed size" if len({len(batch) for batch in batches}) == 1 else "poisson"


def _in_epochs(batches: Sequence[np.ndarray], n: int) -> bool:
    """Return whether no record comes again before all n had their turn."""
    seen: set[int] = set()
    for batch in batches:
        if seen & set(batch.tolist()) or len(set(batch.tolist())) < len(batch):
            return False
        seen |= set(batch.tolist())
        if len(seen) == n:
            seen = set()
    return True


def _logs() -> Iterator[tuple[str, str, list[np.ndarray], int]]:
    """Yield what was drawn, how, the log, and the number of records."""
    random = np.random.default_rng(0)

    def epochs(n: int, size: int, count: int, order: Callable[[], np.ndarray]) -> list[np.ndarray]:
        cut = [list(np.split(order(), range(size, n, size))) for _ in range(count)]
        return [batch for epoch in cut for batch in epoch]

    yield "coin flips", "poisson", [np.flatnonzero(random.random(200) < 0.1) for _ in range(60)], 200
    yield "shuffled epochs", "epochs", epochs(200, 20, 6, lambda: random.permutation(200)), 200
    yield "the same order in each epoch", "epochs", epochs(60, 12, 8, lambda: np.arange(60)), 60
    yield "fresh draws of one size", "fixed size", [random.permutation(200)[:20] for _ in range(60)], 200
    yield (
        "shuffled epochs, last batch short",
        "epochs",
        epochs(100, 30, 9, lambda: random.permutation(100)),
        100,
    )
    yield (
        "coin flips at a high rate",
        "poisson",
        [np.flatnonzero(random.random(80) < 0.4) for _ in range(40)],
        80,
    )


@exercise(
    "13.sampler_of",
    title="which sampler wrote this log?",
    reference=reference_sampler_of,
    points=3,
    difficulty=3,
    importance=5,
    minutes=15,
)
def check_sampler_of(attempt: Callable) -> None:
    """Six logs whose sampler is known."""
    for drawn, expected, batches, n in _logs():
        sizes = [len(batch) for batch in batches]
        given = f"{len(batches)} batches of {n} records; sizes {sizes[:6]}..."
        got = attempt([batch.copy() for batch in batches], n)
        if got == expected:
            continue
        if got not in SAMPLERS:
            because = f"return one of {', '.join(map(repr, SAMPLERS))}"
        elif expected == "poisson":
            because = "sizes of coin flips scatter, and a record may be in two batches running"
        elif got == "poisson":
            because = (
                "the last batch of an epoch is short, so sizes differ; but who comes again before all had their turn?"
                if len(set(sizes)) > 1
                else "coin flips would give batches of many sizes; these are all alike"
            )
        elif expected == "epochs":
            because = (
                "equal sizes, yes, but not fresh draws: in each epoch every record comes exactly once, which a fresh draw "
                "would not manage"
            )
        else:
            because = "equal sizes do not make epochs: here records come again before all had their turn"
        raise Wrong(given=given, got=got, expected=f"{expected} ({drawn})", because=because)
