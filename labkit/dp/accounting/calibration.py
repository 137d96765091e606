"""The least noise that keeps a whole pipeline within a wanted ε."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

from labkit.dp.accounting import accountants
from labkit.dp.accounting.events import (
    Event,
    Neighbouring,
    NotAccountable,
    SampledGaussian,
    Sampler,
    as_events,
)
from labkit.dp.limits import check_delta, check_epsilon, check_neighbouring

SMALLEST_TARGET = 1e-4  # below it the grids would have to be finer than doubles allow for
LARGEST_DELTA = 0.1
LEAST_NOISE = (
    0.05  # of the search: with less, a single step that meets a record costs more than the largest target
)
MOST_STEPS = 10_000_000
RARELY_THERE = (
    "a record is so rarely in any batch that δ alone excuses giving it away: no noise is needed for such a promise, and "
    "it promises nothing. Fix: pick a smaller δ."
)
LARGEST_TARGET = 200.0  # beyond it the accountants' grids take minutes, for a promise that is none


def calibrate_noise(
    target_epsilon: float,
    *,
    delta: float = 1e-5,
    sample_rate: float,
    steps: int,
    other_events: Iterable[Event] = (),
    n: int | None = None,
    sampler: Sampler = "poisson",
    neighbouring: Neighbouring = "add/remove",
) -> float:
    """Least noise multiplier whose headline ε, `other_events` included, is at most `target_epsilon`.

    Returns
    -------
    float
        Noise std / clipping norm. Its ε is below the target by at most 1e-3 (for targets under 1, by at
        most a thousandth of the target; for targets above 20, whose grid is coarser, by at most a hundredth).

    Raises
    ------
    ValueError
        If a setting is invalid, or `other_events` alone already cost the target.
    """
    check_epsilon("target_epsilon", target_epsilon)
    if target_epsilon > LARGEST_TARGET:
        raise ValueError(
            f"target_epsilon={target_epsilon:g}: expected at most {LARGEST_TARGET:g}. A factor of e^{target_epsilon:g} "
            "between two worlds promises nothing; say what noise you want instead (noise_multiplier), or train without."
        )
    if target_epsilon < SMALLEST_TARGET:
        raise ValueError(
            f"target_epsilon={target_epsilon:g}: expected at least {SMALLEST_TARGET:g}. With so small a factor between "
            "two worlds nothing can be learned from the records; say what noise you want instead (noise_multiplier)."
        )
    check_delta(delta, n)
    if delta > LARGEST_DELTA:
        raise ValueError(
            f"delta={delta:g}: expected at most {LARGEST_DELTA:g}. With that probability the promise may fail outright; "
            "pick δ well below 1 / number of records."
        )
    check_neighbouring(neighbouring)
    others = as_events(other_events, empty=True)
    # Raises for an invalid sampler, rate or steps before the search starts.
    if steps > MOST_STEPS:
        raise ValueError(f"steps={steps}: expected at most {MOST_STEPS:,}, beyond which grids round too much")
    training = SampledGaussian(1.0, steps, sample_rate, sampler)
    if training.amplified and -math.expm1(steps * math.log1p(-sample_rate)) <= delta:
        raise ValueError(RARELY_THERE)
    return _calibrate(target_epsilon, delta, sample_rate, steps, others, sampler, neighbouring)


@lru_cache(maxsize=256)
def _calibrate(
    target: float,
    delta: float,
    sample_rate: float,
    steps: int,
    others: tuple[Event, ...],
    sampler: Sampler,
    neighbouring: Neighbouring,
) -> float:
    def spent(log_noise: float, interval: float | None = None) -> float:
        training = SampledGaussian(math.exp(log_noise), steps, sample_rate, sampler)
        return _headline((*others, training), delta, neighbouring, interval)

    if others and (floor := _headline(others, delta, neighbouring)) >= target:
        raise ValueError(
            f"target_epsilon={target} is already spent: other_events alone cost ε = {floor:.4g}. "
            "Fix: add noise to them, or raise the target."
        )
    from scipy.optimize import brentq

    coarse = accountants.COARSE * min(max(1.0, target / 10), 10 * target)
    guess = math.log(max(0.5, 2 * sample_rate * math.sqrt(steps) / target))
    low, high = _bracket(lambda x: spent(x, coarse) - target, guess, step=0.35)
    root = brentq(lambda x: spent(x, coarse) - target, low, high, xtol=1e-3)

    # The fine grid costs ten times as much and shifts ε a little: a Newton step or two with the coarse slope.
    tolerance = 1e-3 * min(1.0, target)
    for _ in range(8):
        over = spent(root) - target
        if -tolerance <= over <= 0:
            return math.exp(root)
        slope = (spent(root + 0.01, coarse) - spent(root, coarse)) / 0.01
        step = (over + tolerance / 2) / slope if slope < 0 else math.inf
        if not abs(step) < 1:  # the curve is flat: no more noise brings ε down
            raise ValueError(
                f"no noise brings ε to {target:g} at δ = {delta:g}: the accountants resolve nothing that small. "
                "Fix: a larger δ or target."
            )
        root -= step
    while (
        spent(root) > target
    ):  # where the fine grid changes width (ε near 20, 200), ε jumps past the tolerance
        root += 1e-3
    return math.exp(root)


def _bracket(f: Callable[[float], float], start: float, step: float) -> tuple[float, float]:
    """Two points around the root of a decreasing function, near `start` (which is one of them)."""
    low = high = start
    direction = 1 if f(start) > 0 else -1
    for _ in range(60):
        if low < math.log(LEAST_NOISE):
            raise ValueError(RARELY_THERE)
        if direction > 0:
            low, high = high, high + step
            if f(high) <= 0:
                return low, high
        else:
            low, high = low - step, low
            if f(low) >= 0:
                return low, high
    raise ValueError("no noise multiplier reaches the target: check target_epsilon, steps and sample_rate")


def _headline(
    events: tuple[Event, ...], delta: float, neighbouring: Neighbouring, interval: float | None = None
) -> float:
    try:
        return accountants.finite_epsilon(accountants.pld(events, neighbouring, interval), delta)
    except NotAccountable:
        return accountants.rdp_epsilon(events, delta, neighbouring)
