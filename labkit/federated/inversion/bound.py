"""What (ε, δ) itself says about reconstruction, for every attacker, and the attack that comes closest to it.

If the release is differentially private for one record, an attacker who knows *all other records*, the model, the
defence, and a prior over the record, reconstructs it with probability at most the power of the best test at level κ,
where κ is the chance of success of the best guess without the release (Balle, Cherubin & Hayes 2022, arXiv
2201.04845; in this form Hayes, Mahloujifar & Balle 2023, arXiv 2302.07225, and Kaissis et al. 2023, arXiv
2307.03928). By (ε, δ) alone that is ``e^ε κ + δ``; the whole privacy curve gives less.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from labkit.dp.accounting.statement import PrivacyStatement


def reconstruction_bound(statement: PrivacyStatement, prior: float) -> float:
    """Return the largest probability with which anyone reconstructs one record from the release.

    Parameters
    ----------
    statement : PrivacyStatement
        Of all that is released from the records (all rounds). Add/remove neighbours: the release without the record
        is what the guess is compared with.
    prior : float
        κ: probability of success of the best guess without the release, for the same notion of success: 1/N for
        naming one of N equally likely records, 0 for hitting a continuous record exactly.

    Returns
    -------
    float
        Between `prior` and 1.

    Raises
    ------
    ValueError
        For a prior outside [0, 1].

    Examples
    --------
    >>> from labkit.dp.accounting.statement import SampledGaussian, privacy_statement
    >>> statement = privacy_statement(SampledGaussian(4.0, sampler="full"))
    >>> bool(0.001 < reconstruction_bound(statement, 0.001) < 0.01)
    True
    """
    if not 0 <= prior <= 1:
        raise ValueError(f"prior={prior}: expected a probability, such as 1/455 for one of 455 records")
    return _bound(statement, prior)


@lru_cache(maxsize=64)
def _bound(statement: PrivacyStatement, prior: float) -> float:
    by_pair = min(1.0, math.exp(min(statement.epsilon, 700.0)) * prior + statement.delta)
    if by_pair < 2 * statement.delta:  # the prior hardly counts: δ says it, without the whole curve
        return max(prior, by_pair)
    return max(prior, min(by_pair, float(statement.tradeoff_curve(np.array([prior]))[0])))


def exact_prior(covariance: Tensor, tolerance: float) -> float:
    """Return the chance that one guess lies within `tolerance` of a record in every coordinate, under a Gaussian model.

    At most the density's maximum times the volume of the box: κ for "returned exactly".

    Parameters
    ----------
    covariance : Tensor, shape [d, d]
        Of the records.
    """
    eigenvalues = torch.linalg.eigvalsh(covariance.double()).clamp_min(1e-12)
    log_density = -0.5 * float((2 * math.pi * eigenvalues).log().sum())
    return math.exp(min(0.0, log_density + len(eigenvalues) * math.log(2 * tolerance)))


def identify(signals: Tensor, targets: Tensor, *, noise_std: float, generator: torch.Generator) -> Tensor:
    """Return which candidate an informed attacker names, for each target: the attack that comes closest to the bound.

    The attacker knows every record but one and has N candidates for that one, one of them right. It sends a model of
    its choice (such as `labkit.federated.inversion.malicious.codebook`), subtracts the known records' gradients from
    the sum, averages over rounds, and names the likeliest candidate.

    Parameters
    ----------
    signals : Tensor, shape [N, p]
        Clipped gradient of every candidate under that model.
    targets : Tensor, int64, shape [trials]
        The true candidate of each trial; each trial is a federation of its own with fresh noise.
    noise_std : float
        On each coordinate of the averaged sum.

    Returns
    -------
    Tensor, int64, shape [trials]
    """
    # Only the noise's inner products with the signals matter: Gaussian with the signals' Gram matrix.
    gram = signals @ signals.T
    values, vectors = torch.linalg.eigh(gram)
    root = vectors * values.clamp_min(0).sqrt()
    noise = torch.randn(len(targets), len(gram), generator=generator, dtype=gram.dtype) @ root.T
    return (gram[targets] + noise_std * noise - gram.diagonal() / 2).argmax(1)
