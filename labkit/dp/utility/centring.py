"""A private mean of the records, to centre them by: the cheapest statistic there is, and accounted for like any other."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labkit import cache

if TYPE_CHECKING:
    from labkit.dp.accounting.events import SampledGaussian

# Noise of the mean, as a multiple of what a release would need that spends the whole budget: of two Gaussian releases
# whose noises are as 6 to 1, the first takes 1 part in 37 of the squared budget.
SHARE = 6.0


def mean_event(target_epsilon: float, delta: float) -> SampledGaussian:
    """Return the accounting event of a mean that takes a small part of (``target_epsilon``, ``delta``)."""
    from labkit.dp.accounting.events import SampledGaussian
    from labkit.dp.mechanisms.additive import gaussian_sigma

    return SampledGaussian(SHARE * gaussian_sigma(target_epsilon, delta), sampler="full")


def private_mean(x: Tensor, *, bound: float, noise_multiplier: float, seed: int | None = None) -> Tensor:
    """Return the mean of ``x`` with Gaussian noise.

    Parameters
    ----------
    x : Tensor, float ``[n, d]``
        Rows longer than ``bound`` are shortened to it, so that one record more or less moves the sum by at most that.
    bound : float
    noise_multiplier : float
        Standard deviation of the noise in the sum, as a multiple of ``bound``.
    seed : int, optional
        As for `labkit.dp.train_private`; drawn from the operating system when left out.

    Returns
    -------
    Tensor ``[d]``
        The noisy sum over n, which is taken to be public, as the expected batch size of training is.
    """
    secret = secrets.randbits(63) if seed is None else seed
    random = torch.Generator().manual_seed(
        int(cache.digest("private mean", secret)[:15], 16)
    )  # not the training's noise
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    total = (x * (bound / lengths.clamp(min=bound))).sum(0)
    noise = torch.randn(total.shape, generator=random, dtype=total.dtype)
    return (total + noise_multiplier * bound * noise) / len(x)
