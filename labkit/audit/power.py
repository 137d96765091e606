"""The power of an audit: how large a leak one of this size would have caught. Finding nothing says no more than that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from labkit.audit import fdp

if TYPE_CHECKING:
    from labkit.audit.guessing import Tally
    from labkit.audit.roc_point import Point
    from labkit.dp.accounting.statement import PrivacyStatement

CHANCE = 0.8  # with which a leak of the size that is named is caught
INTERVAL = 1e-3  # of the grid of privacy losses: 0.01 of an ε at most, in a thirtieth of the time
SHARES = tuple(
    0.9**k for k in range(1, 16)
)  # of the claimed noise, down to a fifth: the leaks that are tried
LARGEST = 200.0  # ε beyond which a leak is not tried: no audit is needed to see it


@dataclass(frozen=True)
class Caught:
    """The least leak that an audit catches 4 times in 5, if its scores see all that can be seen.

    Attributes
    ----------
    epsilon : float
        Infinite if no leak that was tried would have been caught.
    noise : float or None
        The share of the claimed noise that gives it; ``None`` where nothing (or a bare ε) is claimed: the leak is then
        a Gaussian mechanism's.
    """

    epsilon: float
    noise: float | None


def smallest_caught(
    evidence: Sequence[Tally | Point], claimed: PrivacyStatement | float | None, level: float, delta: float
) -> Caught:
    """Return the least leak for which an audit with this evidence refutes the claim, with probability 0.8.

    Parameters
    ----------
    evidence : sequence of Tally or Point
        Only the numbers of guesses and runs count, not what came out.
    claimed : PrivacyStatement, float or None
        A statement about Gaussian noise is weakened noise by noise. For a bare ε, or none (ε = 0 then), the leak is a
        Gaussian mechanism's.
    level : float
        Error that each piece of evidence may make.
    delta : float
        At which the ε is stated, above 0.
    """
    if hasattr(claimed, "delta_at"):
        powers = _powers(evidence, fdp.claimed_curve(claimed), level)
        if claimed.main is not None:
            return _weakened(claimed, powers)
    else:
        powers = _powers(evidence, (float(claimed or 0.0), delta), level)
    found = _least(lambda mu: _caught(powers, fdp.gaussian_curve(mu)), 0.0, 15.0)
    return Caught(math.inf if found is None else fdp.gaussian_epsilon(found, delta), None)


def _powers(
    evidence: Sequence[Tally | Point], claim: fdp.Curve | tuple[float, float], level: float
) -> list[Callable[[fdp.Curve], float]]:
    sizes = {piece.size: piece for piece in evidence}
    return [piece.power(claim, level) for piece in sizes.values()]


def _caught(powers: list[Callable[[fdp.Curve], float]], leak: fdp.Curve) -> bool:
    return any(power(leak) >= CHANCE for power in powers)


def _least(caught: Callable[[float], bool], low: float, high: float) -> float | None:
    """Return the least number that is caught, by bisection to 1/1,000 of the range; ``None`` if ``high`` is not."""
    if not caught(high):
        return None
    width = high - low
    while high - low > 1e-3 * width:
        middle = (low + high) / 2
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def _weakened(claimed: PrivacyStatement, powers: list[Callable[[fdp.Curve], float]]) -> Caught:
    """Return the first of `SHARES` that is caught: strong noise first, so that the cheap accounts come first too."""
    tried = 1.0
    for share in SHARES:
        curve, epsilon = _leak(claimed, share)
        if epsilon > LARGEST:
            break
        if _caught(powers, curve):
            return Caught(epsilon, share)
        tried = share
    return Caught(math.inf, tried)


@lru_cache(maxsize=64)
def _leak(claimed: PrivacyStatement, share: float) -> tuple[fdp.Curve, float]:
    """Return curve and ε of what is claimed, with Gaussian noise of this share of the claimed one."""
    from labkit.dp.accounting.accountants import pld

    events = [
        replace(event, noise_multiplier=share * event.noise_multiplier)
        if hasattr(event, "noise_multiplier")
        else event
        for event in claimed.events
    ]
    losses = pld(events, claimed.neighbouring, INTERVAL)
    epsilon = float(losses.get_epsilon_for_delta(claimed.delta))
    epsilons = np.linspace(0.0, min(epsilon, LARGEST) * 1.5 + 1, 150)
    deltas = np.asarray(losses.get_delta_for_epsilon(epsilons))
    return fdp.lines_curve(epsilons, deltas, f"{share:.2f} of the noise"), epsilon
