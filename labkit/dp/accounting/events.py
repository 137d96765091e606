"""What a mechanism did to the data, as the accountants see it.

An *event* is one private release, or many alike. Each event knows its privacy loss distribution
(PLD), its Rényi divergences (RDP) and, where Opacus can express it, its row in a PRV history. The
arithmetic is done by dp-accounting and Opacus (and, for one Poisson-sampled step, by `privacy_loss`); this
module says which call is the right one.

``noise_multiplier`` is always noise standard deviation over *clipping norm*. Replacing a record can
move a clipped sum by twice the clipping norm; the events account for that themselves.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from labkit.dp.accounting import privacy_loss
from labkit.dp.limits import check_count, check_epsilon, check_noise_multiplier, check_sample_rate

if TYPE_CHECKING:
    from dp_accounting import DpEvent
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

Neighbouring = Literal["add/remove", "replace-one"]
Sampler = Literal["poisson", "fixed", "without-replacement", "full"]
SAMPLERS = ("poisson", "fixed", "without-replacement", "full")

LARGEST_EXPONENT = 700.0

SHUFFLE = (
    "sampler='shuffle' has no tight privacy bound: batches cut from a reshuffled epoch depend on each "
    "other, and Poisson figures can be far too low for them (arXiv 2403.17673, 2411.04205; audits find "
    "gaps of 4x and 10x, 2411.10614). Fix: draw Poisson batches (Opacus: poisson_sampling=True), or "
    "report sampler='fixed', which grants no amplification at all."
)


class NotAccountable(ValueError):  # noqa: N818 - reads as a reason, and is shown as one
    """An accountant cannot handle an event; the message says why."""


class Event(Protocol):
    """What the accountants ask of an event."""

    def pld(self, neighbouring: Neighbouring, interval: float) -> PrivacyLossDistribution: ...
    def rdp(self, neighbouring: Neighbouring, orders: np.ndarray) -> np.ndarray: ...
    def dp_event(self) -> DpEvent: ...
    def prv_history(self, neighbouring: Neighbouring) -> tuple[float, float, int]: ...
    def describe(self) -> str: ...


@dataclass(frozen=True)
class SampledGaussian:
    """`steps` releases of a clipped sum over a sampled batch, with Gaussian noise: DP-SGD.

    Parameters
    ----------
    noise_multiplier : float
        Noise standard deviation / clipping norm.
    steps : int
        Number of releases (optimiser steps).
    sample_rate : float
        q, the share of records in a batch (expected share for Poisson).
    sampler : {"poisson", "fixed", "without-replacement", "full"}
        - ``poisson``: each record joins each batch by its own coin, probability q.
        - ``fixed``: batches are cut once from a fixed order and revisited in turn (a DataLoader
          without shuffling). Membership is no secret, so nothing is amplified: a record is in one of
          each floor(1/q) batches, and each time it meets a plain Gaussian release. Tight for the worst case.
          Neighbours here blank a record out or fill a blank, so that no other record changes batch.
        - ``without-replacement``: a fresh uniformly random batch of exactly q * n records each step;
          replace-one only, bounded by RDP (arXiv 1808.00087).
        - ``full``: every record at every step.

    Raises
    ------
    ValueError
        For a setting outside its range, or ``sampler="shuffle"``, which has no tight bound.
    """

    noise_multiplier: float
    steps: int = 1
    sample_rate: float = 1.0
    sampler: Sampler = "poisson"

    def __post_init__(self) -> None:
        check_noise_multiplier(self.noise_multiplier)
        check_sample_rate(self.sample_rate)
        check_count("steps", self.steps)
        if self.sampler == "shuffle":
            raise ValueError(SHUFFLE)
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler={self.sampler!r} is not one of {', '.join(map(repr, SAMPLERS))}")
        if self.sampler == "full" and self.sample_rate != 1:
            raise ValueError(
                f"sampler='full' uses every record, yet sample_rate={self.sample_rate}. "
                "Fix: leave sample_rate at 1, or name the sampler that drew the batches."
            )

    @property
    def amplified(self) -> bool:
        """Whether random batch membership hides a record (q < 1 and drawn afresh)."""
        return self.sample_rate < 1 and self.sampler in ("poisson", "without-replacement")

    @property
    def releases(self) -> int:
        """Number of noisy sums that one record can be part of."""
        if self.sampler != "fixed":
            return self.steps
        batches = math.floor(1 / self.sample_rate + 1e-9)  # in one round, a last partial batch dropped
        return math.ceil(self.steps / batches)

    def pld(self, neighbouring: Neighbouring, interval: float) -> PrivacyLossDistribution:
        """Privacy loss distribution on a grid of width `interval`, rounded pessimistically."""
        from dp_accounting.pld import privacy_loss_distribution as library

        if not self.amplified:  # n Gaussian releases are one with noise smaller by sqrt(n)
            return library.from_gaussian_mechanism(
                self._noise(neighbouring) / math.sqrt(self.releases), value_discretization_interval=interval
            )
        if self.sampler == "without-replacement":
            raise NotAccountable("no tight PLD is known for batches drawn without replacement (2405.20769)")
        if neighbouring == "add/remove":
            step = privacy_loss.sampled_gaussian(self.noise_multiplier, self.sample_rate, interval)
            return step.self_compose(self.steps)
        return library.from_gaussian_mechanism(
            self.noise_multiplier,  # the library doubles the sensitivity itself for REPLACE_ONE
            sampling_prob=self.sample_rate,
            neighboring_relation=_relation(neighbouring),
            value_discretization_interval=interval,
        ).self_compose(self.steps)

    def rdp(self, neighbouring: Neighbouring, orders: np.ndarray) -> np.ndarray:
        """Rényi divergences at `orders`, all steps together (shape of `orders`)."""
        if self.sampler == "without-replacement" and self.amplified:
            if neighbouring != "replace-one":
                raise NotAccountable("batches of one fixed size are defined for replace-one neighbours only")
            return library_rdp(self.dp_event(), orders, "replace-one")
        if self.amplified and neighbouring == "replace-one":
            raise NotAccountable("dp-accounting has no RDP bound for Poisson batches under replace-one")
        if self.amplified:
            return self.steps * _sampled_rdp(self.noise_multiplier, self.sample_rate, tuple(orders))
        # dp-accounting 0.6 does not double the sensitivity of a replaced record under RDP
        # (google/differential-privacy issue 378), so the noise is halved here instead.
        return library_rdp(_gaussian(self._noise(neighbouring), self.releases), orders)

    def dp_event(self) -> DpEvent:
        """As an event of dp-accounting, for its RDP accountant; add/remove where both exist."""
        import dp_accounting

        gaussian = dp_accounting.GaussianDpEvent(self.noise_multiplier)
        if not self.amplified:
            return _gaussian(self.noise_multiplier, self.releases)
        if self.sampler == "poisson":
            batch = dp_accounting.PoissonSampledDpEvent(self.sample_rate, gaussian)
        else:  # half the noise: see issue 378 above; the size of the source is only there for the ratio
            source = 10**9
            batch = dp_accounting.SampledWithoutReplacementDpEvent(
                source,
                math.ceil(self.sample_rate * source),
                dp_accounting.GaussianDpEvent(self.noise_multiplier / 2),
            )
        return dp_accounting.SelfComposedDpEvent(batch, self.steps)

    def prv_history(self, neighbouring: Neighbouring) -> tuple[float, float, int]:
        """(noise multiplier, q, steps): one row of an Opacus accountant's history."""
        if self.sampler == "without-replacement" and self.amplified:
            raise NotAccountable("Opacus composes Poisson-sampled Gaussians only, not fixed batch sizes")
        if not self.amplified:
            return self._noise(neighbouring), 1.0, self.releases
        if neighbouring == "replace-one":
            raise NotAccountable("Opacus's PRV accountant knows add/remove neighbours only")
        return self.noise_multiplier, self.sample_rate, self.steps

    def describe(self) -> str:
        """For people: 'Poisson q = 0.004, 3750 steps'."""
        steps = f"{self.steps} step{'s' if self.steps != 1 else ''}"
        if self.sampler == "full" or (self.sampler == "poisson" and self.sample_rate == 1):
            return f"full batch, {steps}"
        names = {"poisson": "Poisson", "fixed": "fixed batches", "without-replacement": "without replacement"}
        return f"{names[self.sampler]} q = {self.sample_rate:.3g}, {steps}"

    def _noise(self, neighbouring: Neighbouring) -> float:
        """Noise over the sensitivity of the sum: a replaced record moves it by two clipping norms."""
        return self.noise_multiplier / (2 if neighbouring == "replace-one" else 1)


@dataclass(frozen=True)
class LaplaceEvent:
    """`count` releases with Laplace noise of scale ``noise_multiplier`` times the L1 add/remove sensitivity.

    One release is (1 / noise_multiplier)-DP.
    """

    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        check_noise_multiplier(self.noise_multiplier)
        check_count("count", self.count)

    def pld(self, neighbouring: Neighbouring, interval: float) -> PrivacyLossDistribution:
        from dp_accounting.pld import privacy_loss_distribution as library

        scale = self.noise_multiplier / (2 if neighbouring == "replace-one" else 1)
        one = library.from_laplace_mechanism(scale, value_discretization_interval=interval)
        return one.self_compose(self.count)

    def rdp(self, neighbouring: Neighbouring, orders: np.ndarray) -> np.ndarray:
        halved = (
            LaplaceEvent(self.noise_multiplier / 2, self.count) if neighbouring == "replace-one" else self
        )
        return library_rdp(halved.dp_event(), orders)

    def dp_event(self) -> DpEvent:
        import dp_accounting

        return dp_accounting.SelfComposedDpEvent(
            dp_accounting.LaplaceDpEvent(self.noise_multiplier), self.count
        )

    def prv_history(self, neighbouring: Neighbouring) -> tuple[float, float, int]:
        raise NotAccountable("Opacus's PRV accountant composes Gaussian steps only, not Laplace noise")

    def describe(self) -> str:
        return f"Laplace, scale {self.noise_multiplier:.3g}" + (
            f", {self.count} times" if self.count > 1 else ""
        )


@dataclass(frozen=True)
class PureDP:
    """`count` releases, each ``epsilon``-DP under add/remove, of whatever mechanism (worst case).

    Under replace-one each costs twice as much: one removal, then one addition.
    """

    epsilon: float
    count: int = 1

    def __post_init__(self) -> None:
        check_epsilon("epsilon", self.epsilon)
        check_count("count", self.count)

    def pld(self, neighbouring: Neighbouring, interval: float) -> PrivacyLossDistribution:
        from dp_accounting.pld import common
        from dp_accounting.pld import privacy_loss_distribution as library

        if self._cost(neighbouring) > LARGEST_EXPONENT:
            raise NotAccountable(
                "the PLD of one release beyond ε = 700 overflows; releases of pure ε-DP add up"
            )
        cost = common.DifferentialPrivacyParameters(self._cost(neighbouring), 0)
        return library.from_privacy_parameters(cost, interval).self_compose(self.count)

    def rdp(self, neighbouring: Neighbouring, orders: np.ndarray) -> np.ndarray:
        import dp_accounting

        cost = self._cost(neighbouring)
        if cost > LARGEST_EXPONENT:  # where the odds e^cost overflow, no divergence exceeds the loss itself
            return np.full(len(orders), self.count * cost)
        # Two-way randomised response dominates every epsilon-DP mechanism; odds of truth e^epsilon.
        response = dp_accounting.RandomizedResponseDpEvent(2 / (1 + math.exp(cost)), 2)
        return self.count * library_rdp(response, orders, "replace-one")

    def dp_event(self) -> DpEvent:
        import dp_accounting

        # epsilon-DP implies (epsilon^2 / 2)-zCDP (Bun & Steinke, arXiv 1605.02065, Proposition 1.4).
        return dp_accounting.ZCDpEvent(rho=self.count * self.epsilon**2 / 2)

    def prv_history(self, neighbouring: Neighbouring) -> tuple[float, float, int]:
        raise NotAccountable("Opacus's PRV accountant composes Gaussian steps only, not pure DP")

    def describe(self) -> str:
        return f"pure ε = {self.epsilon:.3g}" + (f", {self.count} times" if self.count > 1 else "")

    def _cost(self, neighbouring: Neighbouring) -> float:
        return self.epsilon * (2 if neighbouring == "replace-one" else 1)


def as_events(events: Event | Iterable[Event], empty: bool = False) -> tuple[Event, ...]:
    """One event or many as a tuple, refusing what is none (and nothing at all, unless `empty`)."""
    events = tuple(events) if isinstance(events, Iterable) else (events,)
    if not (events or empty):
        raise ValueError("events is empty: expected at least one, such as SampledGaussian(1.1, 1000, 0.01)")
    for event in events:
        if not hasattr(event, "pld"):
            raise TypeError(
                f"{event!r} is no privacy event: expected SampledGaussian, LaplaceEvent or PureDP"
            )
    return events


def _relation(neighbouring: Neighbouring):
    import dp_accounting

    relations = dp_accounting.NeighboringRelation
    return relations.REPLACE_ONE if neighbouring == "replace-one" else relations.ADD_OR_REMOVE_ONE


def _gaussian(noise_multiplier: float, releases: int) -> DpEvent:
    import dp_accounting

    return dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise_multiplier), releases)


@lru_cache(maxsize=256)
def _sampled_rdp(noise_multiplier: float, sample_rate: float, orders: tuple[float, ...]) -> np.ndarray:
    """Divergences of one Poisson-sampled step; runs of any length share them."""
    return library_rdp(SampledGaussian(noise_multiplier, 1, sample_rate).dp_event(), np.array(orders))


def library_rdp(event: DpEvent, orders: np.ndarray, neighbouring: Neighbouring = "add/remove") -> np.ndarray:
    """Rényi divergences of an event of dp-accounting, shape of `orders`."""
    from dp_accounting import rdp

    log = logging.getLogger(
        "absl"
    )  # reports each order whose series does not converge; such an order counts as inf
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return rdp.RdpAccountant(orders, _relation(neighbouring)).compose(event).rdp
    finally:
        log.setLevel(level)
