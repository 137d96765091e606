"""Records read off the gradient of a first dense layer: exact, in milliseconds, without optimisation.

For ``z = W x + b``, a record's gradients are ``dW = δ x^T`` and ``db = δ``: each row of ``dW`` divided by its entry of
``db`` is the record (Phong et al. 2018, section 3). In a sum of records that holds for every neuron that one record
alone activates (Boenisch et al. 2021, arXiv 2112.02918, section 3). `labkit.federated.inversion.peeling` goes on
from there, to records that never had a neuron to themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.federated.inversion.observation import Gradient, Observation, as_gradient
from labkit.stats import Interval, clopper_pearson

RESHAPING = (nn.Flatten, nn.Identity, nn.Sequential)


@dataclass(frozen=True)
class Candidates:
    """Records that an attack returns.

    Attributes
    ----------
    records : Tensor, float64, shape [m, d]
        Flat records, each once.
    sightings : Tensor, int64, shape [m]
        How many rows of the gradient, or rounds, gave this very record: see the function that returned it.
    """

    records: Tensor
    sightings: Tensor

    def __len__(self) -> int:
        return len(self.records)


def first_dense(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of the dense layer that sees the record first.

    Raises
    ------
    ValueError
        If something other than a reshape comes before it, or it has no bias.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            if module.bias is None:
                raise ValueError(f"layer {name!r} has no bias: dW / db needs one")
            return name, module
        if not isinstance(module, RESHAPING) and module is not model:
            break
    raise ValueError(
        f"{type(model).__name__} does not begin with a dense layer: this attack reads records from one. "
        "Fix: use dlg or invert for other models"
    )


def dense_rows(model: nn.Module, gradient: Gradient | Observation) -> tuple[Tensor, Tensor]:
    """Return dW, shape [hidden, d], and db, shape [hidden], of the first dense layer, in float64."""
    name, _ = first_dense(model)
    found = as_gradient(model, gradient)
    prefix = f"{name}." if name else ""
    return found[f"{prefix}weight"], found[f"{prefix}bias"]


def recover(model: nn.Module, gradient: Gradient | Observation, *, tolerance: float = 1e-4) -> Candidates:
    """Return a record for every row of the first layer that a record alone activated, and mixtures for the others.

    Parameters
    ----------
    tolerance : float
        Rows whose quotients differ by at most this (largest coordinate) are one candidate.

    Returns
    -------
    Candidates
        Those that most rows agree on first. A candidate must activate a neuron that returned it (the server knows
        the weights); others are mixtures for certain and are left out.

    Examples
    --------
    >>> import torch
    >>> from labkit.federated.inversion.observation import observe
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).double()
    >>> x = torch.randn(1, 4, dtype=torch.float64)
    >>> found = recover(model, observe(model, x, torch.tensor([1])))
    >>> torch.allclose(found.records[0], x[0])
    True
    """
    weight, bias = dense_rows(model, gradient)
    largest = bias.abs().max()
    rows = (
        torch.nonzero(bias.abs() > 1e-7 * largest).flatten()
        if largest > 0
        else torch.empty(0, dtype=torch.long)
    )
    quotients = weight[rows] / bias[rows, None]
    _, layer = first_dense(model)
    preactivation = (quotients * layer.weight.detach().double()[rows]).sum(1) + layer.bias.detach().double()[
        rows
    ]
    return distinct(quotients[preactivation > -tolerance], tolerance)


def distinct(quotients: Tensor, tolerance: float) -> Candidates:
    """Return the different rows of `quotients`, those that came most often first, with how often each came."""
    if not len(quotients):
        return Candidates(quotients, torch.empty(0, dtype=torch.long))
    direction = torch.randn(
        quotients.shape[1], generator=torch.Generator().manual_seed(0), dtype=quotients.dtype
    )
    quotients = quotients[(quotients @ direction).argsort(stable=True)]  # equal rows become neighbours
    starts = (quotients[1:] - quotients[:-1]).abs().amax(1) > tolerance
    run = torch.cat([torch.zeros(1, dtype=torch.long), starts.long().cumsum(0)])
    counts = run.bincount()
    middles = counts.cumsum(0) - counts + counts // 2
    order = counts.argsort(descending=True, stable=True)
    return Candidates(quotients[middles[order]], counts[order])


def exactly(recovered: Tensor, records: Tensor, tolerance: float) -> Tensor:
    """Return, for each true record, whether one recovered lies within `tolerance` in every coordinate; bool [n]."""
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance={tolerance}: expected a positive number in the unit of the records")
    truth = records.flatten(1).double()
    if len(recovered) == 0:
        return torch.zeros(len(truth), dtype=torch.bool)
    distance = (truth[:, None] - recovered.flatten(1).double()[None]).abs().amax(2)
    return distance.amin(1) <= tolerance


def exact_rate(recovered: Tensor, records: Tensor, tolerance: float = 1e-3) -> Interval:
    """Return the share of `records` that were recovered, with the Clopper-Pearson interval over records.

    The interval takes records as independent trials: give it one record of each attacked batch, or read it as
    approximate where many records of one batch stand or fall together.

    Parameters
    ----------
    recovered, records : Tensor, shapes [m, ...] and [n, ...]
    tolerance : float
        Largest difference allowed in any coordinate, in the unit of the records.

    Examples
    --------
    >>> import torch
    >>> print(exact_rate(torch.eye(3)[:2], torch.eye(3)))
    0.6667 [0.0943, 0.9916]
    """
    hits = exactly(recovered, records, tolerance)
    return clopper_pearson(int(hits.sum()), len(hits))
