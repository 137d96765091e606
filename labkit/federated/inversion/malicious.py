"""A server that chooses the model in order to read records: stronger than any attack on an honest model.

**Adversary**: the server. It picks the weights of every round, knows the clipping norm and the noise, may ask the same
question in all rounds and average, and knows mean and covariance of the records (public statistics). It sees sums
only. Checking that all hospitals got the same model does not stop it: all get the same, malicious one.

- `imprint`: all first-layer rows measure one direction and cut it into bins (Fowl et al. 2022, "Robbing the Fed",
  arXiv 2110.13057, section 3); the difference of two neighbours holds the records of one bin.
- `tail_trap`: one neuron that fires for one record only, and through which nearly all of that record's gradient
  flows, so that clipping leaves as large a signal as the clipping norm allows (after Boenisch et al. 2021,
  arXiv 2112.02918): the best linear question under noise.
- `wiener`: the least-squares reading of a noisy row for a server that knows the defence.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from labkit.federated.inversion.dense import Candidates, distinct
from labkit.federated.inversion.observation import Observation
from labkit.federated.inversion.peeling import peel, two_dense

GAIN = 1e3  # last layer: the first layer's share of a record's squared gradient is 1 - 1 / (4 GAIN ** 2)


def _question(model: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """Return a copy with these first-layer rows, faint enough for even chances, and a last layer that amplifies."""
    model = copy.deepcopy(model)
    first, last = two_dense(model)
    with torch.no_grad():
        faint = 1e-6 / GAIN
        first.weight.copy_(weight * faint)
        first.bias.copy_(bias * faint)
        last.bias.zero_()
        last.weight.zero_()
        last.weight[0], last.weight[1] = GAIN, -GAIN
    return model


def imprint(model: nn.Module, direction: Tensor, cuts: Tensor) -> nn.Module:
    """Return a copy whose neuron j fires where ``direction @ x > cuts[j]``.

    Parameters
    ----------
    model : nn.Module
        Linear, ReLU, Linear.
    direction : Tensor, shape [d]
    cuts : Tensor, shape [hidden]
        Such as quantiles of ``direction @ x`` under what the server knows.
    """
    return _question(model, direction.expand(len(cuts), -1), -cuts)


def tail_trap(model: nn.Module, direction: Tensor, cut: float) -> nn.Module:
    """Return a copy whose first neuron fires where ``direction @ x > cut``; all others are dead.

    A record that fires it has, after clipping at C, the gradient ``± C [x, 1] / norm([x, 1])`` in that row: the sign
    is its label's.
    """
    first, _ = two_dense(model)
    weight = torch.zeros_like(first.weight)
    weight[0] = direction
    bias = torch.full_like(first.bias, -1.0)
    bias[0] = -cut
    return _question(model, weight, bias)


def harvest(
    model: nn.Module, answers: list[tuple[nn.Module, Observation]], *, tolerance: float = 1e-6
) -> Candidates:
    """Return every record that `peel` proves in any of the answers to malicious models.

    Parameters
    ----------
    answers : list of (model, Observation)
        The models sent, such as `imprint` along different directions, and the sums that came back.

    Returns
    -------
    Candidates
        `sightings` counts the answers that a record was found in.
    """
    two_dense(model)
    found = [peel(sent, seen, tolerance=tolerance).records for sent, seen in answers]
    return distinct(torch.cat(found), 1e-3)


def wiener(row: Tensor, *, signal: float, noise_std: float, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return the best guess of x from ``row = signal [x, 1] + noise``: the posterior mean under a Gaussian prior.

    Parameters
    ----------
    row : Tensor, shape [d + 1]
        A row of dW with its entry of db.
    signal : float
        Factor of the record in the row. After a trap it is ± C / norm([x, 1]): the server guesses it, or is told.
    noise_std : float
        On each coordinate, after averaging over rounds.
    mean, covariance : Tensor, shapes [d] and [d, d]
        What the server knows of the records.

    Examples
    --------
    >>> import torch
    >>> row = torch.tensor([0.5, -1.0, 0.25])
    >>> prior = {"mean": torch.zeros(2), "covariance": torch.eye(2)}
    >>> wiener(row, signal=0.25, noise_std=1e-6, **prior).round(decimals=3).tolist()
    [2.0, -4.0]
    >>> wiener(row, signal=0.25, noise_std=1e6, **prior).round(decimals=3).tolist()
    [0.0, -0.0]
    """
    surprise = row[:-1] - signal * mean
    eye = torch.eye(len(mean), dtype=mean.dtype)
    spread = signal**2 * covariance + noise_std**2 * eye
    return mean + signal * covariance @ torch.linalg.solve(spread, surprise)


def in_the_tail(mean: Tensor, covariance: Tensor, direction: Tensor, cut: float) -> tuple[Tensor, Tensor]:
    """Return the prior's mean and covariance given that ``direction @ x`` is about `cut`: what a fired trap says."""
    towards = covariance @ direction
    variance = direction @ towards
    return (
        mean + towards * (cut - direction @ mean) / variance,
        covariance - torch.outer(towards, towards) / variance,
    )


def codebook(model: nn.Module, covariance: Tensor, generator: torch.Generator) -> nn.Module:
    """Return a copy whose neurons each fire on about a sixth of the records, each on others: gradients tell records apart.

    Rows are random directions of the whitened records: neither large features nor correlated ones make two
    gradients alike. For `labkit.federated.inversion.bound.identify`.
    """
    first, _ = two_dense(model)
    values, vectors = torch.linalg.eigh(covariance)
    rows = torch.randn(first.weight.shape, generator=generator, dtype=covariance.dtype)
    rows = rows / rows.norm(dim=1, keepdim=True)
    whitened = rows @ (vectors * values.clamp_min(1e-9).rsqrt()) @ vectors.T
    return _question(model, whitened, -torch.ones(len(rows), dtype=covariance.dtype))
