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
    from scipy.special import log_ndtr, ndtr

    q, sigma = sample_rate, noise_multiplier
    sign = 1 if removed else -1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # The ratio B / A is 1 - q + q exp((x - 1/2) / σ²), never below 1 - q.
        end = 0.5 + sigma**2 * np.log1p(np.expm1(sign * epsilons) / q)
    end = np.where(np.expm1(sign * epsilons) <= -q, -np.inf, end)
    without, with_record = -sign * end / sigma, -sign * (end - 1) / sigma
    if removed:
        mixture = (1 - q) * ndtr(without) + q * ndtr(with_record)
        found = mixture - np.exp(epsilons + log_ndtr(without))
    else:
        log_mixture = np.logaddexp(math.log1p(-q) + log_ndtr(without), math.log(q) + log_ndtr(with_record))
        found = ndtr(without) - np.exp(epsilons + log_mixture)
    return found.clip(0, 1)


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
    return pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(interval, low, high, deltas)
