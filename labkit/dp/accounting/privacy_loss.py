"""The privacy loss distribution of one Poisson-sampled Gaussian step, on whole arrays.

dp-accounting finds each point of the grid by a Python call of its own, some hundred thousand for one distribution, and
a calibration needs ten distributions. Here the same curve comes from array arithmetic; grid, discretisation and
composition stay dp-accounting's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dp_accounting.pld.pld_pmf import PLDPmf
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution


def sampled_gaussian(noise_multiplier: float, sample_rate: float, interval: float) -> PrivacyLossDistribution:
    """Return the distribution of one step under add/remove neighbours, rounded pessimistically.

    Parameters
    ----------
    noise_multiplier : float
        Noise standard deviation over the sensitivity of the sum.
    sample_rate : float
        q, below 1.
    interval : float
        Grid width in units of ε.

    Notes
    -----
    Equal, but for rounding, to dp-accounting's ``from_gaussian_mechanism`` with ``sampling_prob``.
    """
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
    from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType

    remove, add = (
        _on_grid(noise_multiplier, sample_rate, interval, which)
        for which in (AdjacencyType.REMOVE, AdjacencyType.ADD)
    )
    return PrivacyLossDistribution(remove, add)


def divergence(
    epsilons: np.ndarray, noise_multiplier: float, sample_rate: float, *, removed: bool
) -> np.ndarray:
    """Return the hockey-stick divergence of one step at each ε, shape of ``epsilons``.

    Let A be N(0, σ²) and B the mixture (1 - q) N(0, σ²) + q N(1, σ²): the noisy sum without and with the record. The
    result is the supremum over events S of B(S) - exp(ε) A(S) for a record ``removed``, and of A(S) - exp(ε) B(S) for
    one added (Zhu, Dong & Wang, arXiv 2106.08567, section 4). The best S is a half-line, since the likelihood
    ratio grows with the sum; its end is where the ratio is exp(ε).
    """
    from scipy.special import log_ndtr

    q, sigma, sign = sample_rate, noise_multiplier, 1 if removed else -1
    # The ratio B / A is 1 - q + q exp((x - 1/2) / σ²), never below 1 - q.
    end = 0.5 + sigma**2 * _log_odds(sign * epsilons, q)
    log_without, log_with = log_ndtr(-sign * end / sigma), log_ndtr(-sign * (end - 1) / sigma)
    log_mixture = np.logaddexp(math.log1p(-q) + log_without, math.log(q) + log_with)
    first, second = (log_mixture, log_without) if removed else (log_without, log_mixture)
    # One factor exp(first) outside, so that no power of e^ε is ever formed: ε itself may exceed 709, exp(ε) may not.
    with np.errstate(invalid="ignore"):
        found = -np.exp(first) * np.expm1(np.minimum(epsilons + second - first, 0.0))
    found = np.where(np.isneginf(first), 0.0, found)  # no output is that likely: nothing to excuse
    return found.clip(0, 1)


def _log_odds(t: np.ndarray, q: float) -> np.ndarray:
    """Return ln((e^t - (1 - q)) / q), -inf where the difference is not positive, for any ``t``, however large."""
    with np.errstate(divide="ignore", invalid="ignore"):
        small = np.log1p(np.expm1(np.minimum(t, 1.0)) / q)
        large = t + np.log1p(-(1 - q) * np.exp(-np.maximum(t, 0.0))) - math.log(q)
    return np.where(np.expm1(np.minimum(t, 1.0)) <= -q, -np.inf, np.where(t < 1, small, large))


def _on_grid(noise_multiplier: float, sample_rate: float, interval: float, adjacency: object) -> PLDPmf:
    """Return one direction's distribution by "connect the dots" (Doroshenko et al., arXiv 2207.04380)."""
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType, GaussianPrivacyLoss

    bounds = GaussianPrivacyLoss(
        noise_multiplier, sampling_prob=sample_rate, adjacency_type=adjacency
    ).connect_dots_bounds()
    low, high = math.floor(bounds.epsilon_lower / interval), math.ceil(bounds.epsilon_upper / interval)
    deltas = divergence(
        np.arange(low, high + 1) * interval,
        noise_multiplier,
        sample_rate,
        removed=adjacency == AdjacencyType.REMOVE,
    )
    deltas = np.maximum.accumulate(deltas[::-1])[::-1]  # rounding must not make them rise with ε
    return pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(interval, low, high, deltas)
