"""Three accountants that may be reported (PLD, RDP, PRV) and one for teaching only (GDP).

PLD and RDP come from dp-accounting, PRV from Opacus. Each takes a composed list of events and says
`NotAccountable` with a reason where it has no valid answer.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from labkit.dp.accounting.events import Event, Neighbouring, NotAccountable
from labkit.dp.limits import check_count, check_delta, check_noise_multiplier, check_sample_rate

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

FINE, COARSE = 1e-4, 1e-3
PRV_ERROR = 0.01  # Opacus's default tolerance on ε; its upper end is what is reported
PRV_LARGEST_GRID = 1e6  # about 5 s; the grid grows with ε * sqrt(steps)
PRV_LARGEST_EPSILON = (
    300.0  # Opacus's PRV computes e^ε in doubles, which overflow at 709 and then answer too low
)
PRV_SMALLEST_DELTA = 1e-13
PLD_LARGEST_EPSILON = 1e7  # by RDP; beyond it the grid would be so wide that e^width overflows
SMALLEST_INTERVAL = 1e-7


def pld(
    events: Sequence[Event], neighbouring: Neighbouring, interval: float | None = None, runs: int = 1
) -> PrivacyLossDistribution:
    """Privacy loss distribution of all events together, `runs` times over.

    Parameters
    ----------
    interval : float, optional
        Grid width in units of ε. Rounding is pessimistic, so a coarse grid errs upwards. By default 1e-4 for ε of
        about 0.1 to 20, ten times coarser for each factor of ten beyond (to bound time and memory) and finer below
        (where 1e-4 would be most of the answer).

    Raises
    ------
    NotAccountable
        If an event has no tight PLD, or ε is beyond what its grid can hold.
    """
    events = tuple(events)
    return _pld(events, neighbouring, interval or _interval(events, neighbouring, runs), runs)


@lru_cache(maxsize=8)  # a distribution is some megabytes
def _pld(
    events: tuple[Event, ...], neighbouring: Neighbouring, interval: float, runs: int
) -> PrivacyLossDistribution:
    total, *rest = [event.pld(neighbouring, interval) for event in events]
    for one in rest:
        total = total.compose(one)
    return total if runs == 1 else total.self_compose(runs)


@lru_cache(maxsize=256)
def _interval(events: tuple[Event, ...], neighbouring: Neighbouring, runs: int) -> float:
    try:
        size = rdp_epsilon(events, 1e-5, neighbouring, runs)
    except NotAccountable:  # only the order of magnitude matters here
        size = 2 * rdp_epsilon(events, 1e-5, "add/remove", runs)
    if not size <= PLD_LARGEST_EPSILON:
        raise NotAccountable(f"ε is about {size:.2g} by RDP: no grid of privacy losses reaches that far")
    interval = FINE * 10 ** max(0, math.ceil(math.log10(max(size, 1e-9) / 20)))
    if size < 0.1:  # RDP bottoms out in this range, so the distribution itself says how fine its grid must be
        # The losses themselves can reach far: a step that rarely meets a record may give it away when it does.
        least = max(SMALLEST_INTERVAL, rdp_epsilon(events, 1e-22, "add/remove", runs) / 1e5)
        while (
            interval > least
            and _pld(events, neighbouring, interval, runs).get_epsilon_for_delta(1e-5) < 1000 * interval
        ):
            interval /= 10
    return interval


def pld_epsilon(
    events: Sequence[Event], delta: float, neighbouring: Neighbouring = "add/remove", runs: int = 1
) -> float:
    """ε at `delta` by the privacy loss distribution: tight up to its grid, the headline figure.

    Raises
    ------
    NotAccountable
        As `pld`, and where δ is so small that what the grid leaves out is more.
    """
    return finite_epsilon(pld(events, neighbouring, runs=runs), delta)


def finite_epsilon(distribution: PrivacyLossDistribution, delta: float) -> float:
    """Return ε at `delta`; raises `NotAccountable` where the distribution's truncated tails hold more than δ."""
    epsilon = float(distribution.get_epsilon_for_delta(delta))
    if not math.isfinite(epsilon):
        raise NotAccountable(f"the tails that the PLD's grid leaves out hold more than δ = {delta:g}")
    return epsilon


@lru_cache(maxsize=256)
def _rdp_curve(event: Event, neighbouring: Neighbouring) -> np.ndarray:
    return event.rdp(neighbouring, orders())


@lru_cache(maxsize=1)
def orders() -> np.ndarray:
    """The Rényi orders that dp-accounting tries by default, shape [k]."""
    from dp_accounting.rdp import rdp_privacy_accountant

    return np.asarray(rdp_privacy_accountant.DEFAULT_RDP_ORDERS, dtype=float)


def rdp_curve(events: Sequence[Event], neighbouring: Neighbouring, runs: int = 1) -> np.ndarray:
    """Rényi divergence bounds of all events together at `orders()`; divergences simply add up."""
    return runs * sum(_rdp_curve(event, neighbouring) for event in events)


def rdp_epsilon(
    events: Sequence[Event], delta: float, neighbouring: Neighbouring = "add/remove", runs: int = 1
) -> float:
    """ε at `delta` by Rényi DP: an upper bound, quick to compute, looser than PLD (Mironov 2017, 1702.07476)."""
    from dp_accounting import rdp

    return float(rdp.compute_epsilon(orders(), rdp_curve(events, neighbouring, runs), delta)[0])


@lru_cache(maxsize=64)
def prv_epsilon(
    events: tuple[Event, ...], delta: float, neighbouring: Neighbouring = "add/remove", runs: int = 1
) -> float:
    """ε at `delta` by Opacus's PRV accountant (Gopi et al. 2021, arXiv 2106.02848), upper end of its error band.

    Raises
    ------
    NotAccountable
        For anything but (Poisson-sampled) Gaussian steps, and where it would need minutes.
    """
    from opacus.accountants import PRVAccountant

    if delta < PRV_SMALLEST_DELTA:
        raise NotAccountable(f"δ = {delta:g} is below what Opacus's PRV accountant resolves in doubles")
    if rdp_epsilon(events, delta, neighbouring, runs) > PRV_LARGEST_EPSILON:
        raise NotAccountable(
            f"beyond ε of about {PRV_LARGEST_EPSILON:g} Opacus's PRV accountant overflows, and answers too low"
        )
    rows = [event.prv_history(neighbouring) for event in events]
    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps * runs) for noise, rate, steps in rows]
    total = sum(steps for _, _, steps in accountant.history)
    mesh = PRV_ERROR / math.sqrt(total * math.log(12_000 / delta) / 2)
    if rdp_epsilon(events, delta, neighbouring, runs) / mesh > PRV_LARGEST_GRID:
        raise NotAccountable("the PRV grid for so large an ε and so many steps would take minutes")
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # q = 1 takes log(0), which it handles
        warnings.simplefilter("ignore")
        try:
            value = float(accountant.get_epsilon(delta, eps_error=PRV_ERROR))
        except (RuntimeError, ValueError) as error:
            raise NotAccountable(f"Opacus's PRV accountant gave up: {error}") from error
    if not math.isfinite(value):
        raise NotAccountable("Opacus's PRV accountant found no finite ε")
    return max(0.0, value)


def gdp_epsilon(noise_multiplier: float, steps: int, sample_rate: float, *, delta: float = 1e-5) -> float:
    """ε by the central limit of Gaussian DP: **for teaching only, no bound, mostly too low**.

    Poisson-sampled steps tend to μ-GDP with μ = q sqrt(T (exp(1/σ²) - 1)) as T grows (Dong, Roth & Su,
    arXiv 1905.02383, section 5; Bu et al., 1911.11607). A limit is not a bound: in the usual range of DP-SGD
    (small q, σ near 1) the true ε lies above it (Gopi et al., 2106.02848), and with little noise and q near 1
    far below. It never enters a `PrivacyStatement`.
    """
    from opacus.accountants.analysis import gdp

    check_noise_multiplier(noise_multiplier)
    check_count("steps", steps)
    check_sample_rate(sample_rate)
    check_delta(delta)
    return float(
        gdp.compute_eps_poisson(
            steps=steps, noise_multiplier=noise_multiplier, sample_rate=sample_rate, delta=delta
        )
    )
