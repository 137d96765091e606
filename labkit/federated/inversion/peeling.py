"""The strongest exact attack here on an honest model: take a record out of the sum, then look again.

A server that has one record knows its whole gradient: it subtracts it, and neurons that two records shared become
neurons of one. In models with two classes it also compares neurons: the error signal of every record reaches neuron
j through the same known number ``v_j = V[0, j] - V[1, j]`` of the last layer, so ``dW_j / v_j`` is a sum over the
records that activate j, and two neurons that differ in a single record give that record by subtraction.

Every candidate is proven before it is returned: its gradient, recomputed from the known weights, must reproduce what
was seen. The idea is that of sparse-graph decoding; SPEAR (Dimitrov et al. 2024, arXiv 2403.03945) reaches batches of
about 25 in wide models with many classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.federated.inversion.dense import Candidates, dense_rows, first_dense
from labkit.federated.inversion.observation import Gradient, Observation

SAME = 1e-3  # records closer than this in every coordinate are taken for one


def peel(
    model: nn.Module,
    gradient: Gradient | Observation,
    *,
    max_grad_norm: float | None = None,
    tolerance: float = 1e-6,
    passes: int = 20,
) -> Candidates:
    """Return records that the sum contains for certain, alternating between recovery and subtraction.

    Parameters
    ----------
    model : nn.Module
        A dense layer, ReLU, a dense layer of classes; at most a Flatten before them.
    max_grad_norm : float, optional
        Clipping norm that the hospitals used; read from an `Observation`.
    tolerance : float
        Error allowed in the reproduced gradient, relative to its largest entry: rounding, or the grid of a secure
        sum. Under noise nothing is reproduced, and nothing is returned.
    passes : int
        Most rounds of subtraction.

    Returns
    -------
    Candidates
        `sightings` counts the neurons of the first layer that the record activates.

    Examples
    --------
    >>> import torch
    >>> from labkit.federated.inversion.observation import observe
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)).double()
    >>> x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    >>> len(peel(model, observe(model, x, y, hospitals=5)))
    5
    """
    if isinstance(gradient, Observation):
        max_grad_norm = gradient.max_grad_norm
    layers = _TwoLayers.of(model)
    left = torch.cat([part.reshape(len(layers.bias), -1) for part in dense_rows(model, gradient)], 1)
    tolerance = tolerance * float(left.abs().max())
    records, neurons = left.new_empty(0, left.shape[1] - 1), torch.empty(0, dtype=torch.long)
    if tolerance == 0:
        return Candidates(records, neurons)
    for _ in range(passes):
        fresh, signals = _proven(layers, left, records, max_grad_norm, tolerance)
        if not len(fresh):
            break
        left = left - signals.T @ layers.extend(fresh)
        records = torch.cat([records, fresh])
        neurons = torch.cat([neurons, (signals != 0).sum(1)])
    return Candidates(records, neurons)


def two_dense(model: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """Return both dense layers of a Linear, ReLU, Linear model.

    Raises
    ------
    ValueError
        If the model is built otherwise.
    """
    first_dense(model)
    parts = [m for m in model.modules() if not isinstance(m, nn.Sequential | nn.Flatten | nn.Identity)]
    kinds = [type(part) for part in parts]
    if kinds != [nn.Linear, nn.ReLU, nn.Linear] or parts[2].bias is None:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"expected Linear, ReLU, Linear with biases; this model has {names}: use recover, dlg or invert"
        )
    return parts[0], parts[2]


@dataclass(frozen=True)
class _TwoLayers:
    """A dense layer, ReLU, and a dense layer of classes: its per-record gradients in closed form, float64."""

    weight: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    @classmethod
    def of(cls, model: nn.Module) -> _TwoLayers:
        first, last = two_dense(model)
        tensors = (first.weight, first.bias, last.weight, last.bias)
        return cls(*(tensor.detach().double() for tensor in tensors))

    @staticmethod
    def extend(x: Tensor) -> Tensor:
        """Return [x, 1]."""
        return torch.cat([x, x.new_ones(len(x), 1)], 1)

    def signals(self, x: Tensor, max_grad_norm: float | None) -> Tensor:
        """Return each record's gradient by the first layer's bias, for every label; shape [classes, n, hidden]."""
        before = x @ self.weight.T + self.bias
        hidden = before.relu()
        chances = (hidden @ self.last.T + self.last_bias).softmax(1)
        errors = chances[None] - torch.eye(len(self.last), dtype=x.dtype)[:, None]
        signals = (errors @ self.last) * (before > 0)
        if max_grad_norm is None:
            return signals
        squares = signals.square().sum(2) * (x.square().sum(1) + 1)
        squares = squares + errors.square().sum(2) * (hidden.square().sum(1) + 1)
        return signals * (max_grad_norm / squares.clamp_min(1e-300).sqrt()).clamp(max=1.0)[..., None]


def _proven(
    layers: _TwoLayers, left: Tensor, known: Tensor, max_grad_norm: float | None, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return new records, shape [m, d], that reproduce what is `left`, and their signals, shape [m, hidden]."""
    views, one, two, scale = _views(layers, left, tolerance)
    records = views[:, :-1] / views[:, -1:]
    usable = torch.isfinite(records).all(1) & (records.abs().amax(1) < 1e6)
    views, one, two, scale, records = (part[usable] for part in (views, one, two, scale, records))
    signals = layers.signals(records, max_grad_norm)
    index = torch.arange(len(records))
    predicted = signals[:, index, one] * scale[:, 0] - signals[:, index, two] * scale[:, 1]
    error, label = (predicted - views[:, -1]).abs().min(0)
    sure = error <= torch.minimum(tolerance * scale.abs().amax(1), 1e-3 * views[:, -1].abs())
    order = (views[sure, -1].abs() / scale[sure].abs().amax(1)).argsort(descending=True)  # most digits first
    records, signals = records[sure][order], signals[label[sure], index[sure]][order]
    fresh = _first_of_each(records, known)
    return records[fresh], signals[fresh]


def _views(layers: _TwoLayers, left: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rows, and for two classes differences of rows, as (views [m, d + 1], neuron, neuron, scales [m, 2])."""
    alive = torch.nonzero(left[:, -1].abs() > 10 * tolerance).flatten()
    single = torch.stack([left.new_ones(len(alive)), left.new_zeros(len(alive))], 1)
    if len(layers.last) != 2:
        return left[alive], alive, alive, single
    towards = layers.last[0] - layers.last[1]
    inverse = 1 / towards
    heard = torch.nonzero(
        towards.abs() > 0.03 * towards.abs().max()
    ).flatten()  # others only multiply rounding
    one, two = torch.combinations(heard, 2).unbind(1)
    scales = torch.stack([inverse[one], inverse[two]], 1)
    pairs = left[one] * scales[:, :1] - left[two] * scales[:, 1:]
    kept = pairs[:, -1].abs() > 10 * tolerance * scales.abs().amax(1)
    return (
        torch.cat([left[alive], pairs[kept]]),
        torch.cat([alive, one[kept]]),
        torch.cat([alive, two[kept]]),
        torch.cat([single, scales[kept]]),
    )


def _first_of_each(records: Tensor, known: Tensor) -> Tensor:
    """Return the positions of one row of each sort among `records` that is not among `known`."""
    kept: list[int] = []
    taken = known
    for index, record in enumerate(records):
        if not len(taken) or (taken - record).abs().amax(1).min() > SAME:
            kept.append(index)
            taken = torch.cat([taken, record[None]])
    return torch.tensor(kept, dtype=torch.long)
