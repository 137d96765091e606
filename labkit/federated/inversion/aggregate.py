"""Sums of several hospitals taken apart: records recovered from secure aggregates, and grouped by hospital.

SRATTA (Marchand, Loeb, Marteau-Ferey, Ogier du Terrail, Pignet 2023, arXiv 2306.07644). **Adversary**: an honest but
curious server. It knows the model it sent in each round and the sum of the hospitals' updates, and that they train
with plain gradient steps; it knows nothing of the data. Secure aggregation says that it cannot tell who sent what.

*Recovery* (section 4): whatever the number of local steps, the row of a first-layer neuron that one record of all
hospitals activates is a multiple of ``[x, 1]``. *Grouping* (section 5): a record that did not activate a neuron under
the model sent, yet takes part in its row, was switched on by a local step, and only records of the same hospital
move a hospital's copy of that neuron.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from labkit.federated.inversion.dense import Candidates, distinct, first_dense

Holding = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class AggregatedRound:
    """One round as the server of a secure aggregation knows it.

    Attributes
    ----------
    weight, bias : Tensor, shapes [hidden, d] and [hidden]
        First layer of the model that it sent.
    weight_update, bias_update : Tensor, same shapes
        Sum over hospitals of (local - sent).
    """

    weight: Tensor
    bias: Tensor
    weight_update: Tensor
    bias_update: Tensor


@dataclass(frozen=True)
class Groups:
    """Records out of sums, with a group for each: same number, same hospital.

    Attributes
    ----------
    records : Tensor, float64, shape [m, d]
    group : Tensor, int64, shape [m]
        Records without any link have a group to themselves.
    """

    records: Tensor
    group: Tensor

    def pairs(self, owner: Tensor) -> tuple[int, int, int]:
        """Return (pairs grouped rightly, pairs grouped, pairs that do share a hospital).

        Parameters
        ----------
        owner : Tensor, int64, shape [m]
            The true hospital of each record; -1 for a row that is no record: any pair with it counts as wrong.
        """
        one, two = torch.combinations(torch.arange(len(owner)), 2).unbind(1)
        grouped = self.group[one] == self.group[two]
        true = (owner[one] == owner[two]) & (owner[one] >= 0)
        return int((grouped & true).sum()), int(grouped.sum()), int(true.sum())


def fedavg_rounds(
    model: nn.Module,
    hospitals: Sequence[Holding],
    *,
    rounds: int = 5,
    local_steps: int = 5,
    batch_size: int = 4,
    learning_rate: float = 0.1,
    generator: torch.Generator,
) -> list[AggregatedRound]:
    """Train by federated averaging and return what the server of a secure aggregation saw, round by round.

    Parameters
    ----------
    model : nn.Module
        Begins with a dense layer (after a Flatten at most). Left as it is.
    hospitals : sequence of (x, y)
        Records of each hospital, shapes [n_h, d] and [n_h].
    local_steps, batch_size, learning_rate
        Plain gradient steps at each hospital on batches drawn from its own records.
    """
    model = copy.deepcopy(model)
    name, _ = first_dense(model)
    keys = [f"{name}.weight" if name else "weight", f"{name}.bias" if name else "bias"]
    seen = []
    for _ in range(rounds):
        sent = {key: value.detach().clone() for key, value in model.state_dict().items()}
        total = {key: torch.zeros_like(value) for key, value in sent.items()}
        for x, y in hospitals:
            local = _local_training(model, x, y, local_steps, batch_size, learning_rate, generator)
            total = {key: total[key] + local[key] - sent[key] for key in sent}
        seen.append(AggregatedRound(*(sent[key] for key in keys), *(total[key] for key in keys)))
        model.load_state_dict({key: sent[key] + total[key] / len(hospitals) for key in sent})
    return seen


def _local_training(model, x, y, steps, batch_size, learning_rate, generator) -> dict[str, Tensor]:
    local = copy.deepcopy(model)
    parameters = list(local.parameters())
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:batch_size]
        gradients = torch.autograd.grad(F.cross_entropy(local(x[batch]), y[batch]), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= learning_rate * gradient
    return {key: value.detach() for key, value in local.state_dict().items()}


def disaggregate(seen: Sequence[AggregatedRound], *, tolerance: float = 1e-5) -> Candidates:
    """Return the records that at least two rounds agree on (SRATTA needs a prior on the data instead).

    Two neurons of one round prove nothing: in a model with two classes, every neuron that the same records activate
    returns the same mixture of them. From one round to the next the shares of a mixture change; a record does not.

    Parameters
    ----------
    tolerance : float
        Largest difference between two sightings of a record, in any coordinate.

    Returns
    -------
    Candidates
        `sightings` counts rounds.
    """
    quotients = []
    for each in seen:
        moved = each.bias_update.abs() > 1e-7 * each.bias_update.abs().max()
        rows = (each.weight_update[moved] / each.bias_update[moved, None]).double()
        quotients.append(distinct(rows, tolerance).records)
    found = distinct(torch.cat(quotients), tolerance)
    twice = found.sightings >= 2
    return Candidates(found.records[twice], found.sightings[twice])


def regroup(seen: Sequence[AggregatedRound], *, tolerance: float = 1e-5) -> Groups:
    """Return the recovered records grouped by hospital (SRATTA, section 5).

    Two records are linked where the rule leaves no choice: a neuron's row is explained without remainder by known
    records, one of them was inactive under the model sent, and all that were active belong to one group.
    """
    records = disaggregate(seen, tolerance=tolerance).records
    group = torch.arange(len(records))
    clues = [clue for each in seen for clue in _clues(each, records)]
    changed = True
    while changed:
        changed = False
        for active, woken in clues:
            if len(group[active].unique()) == 1:
                members = group[torch.cat([active, woken])].unique()
                changed |= len(members) > 1
                group[torch.isin(group, members)] = members.min()
    return Groups(records, group)


def _clues(each: AggregatedRound, records: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return, for each fully explained neuron with records woken by a local step: (active before, woken)."""
    if not len(records):
        return []
    before = records @ each.weight.double().T + each.bias.double() > 0
    rows = torch.cat([each.weight_update, each.bias_update[:, None]], 1).double()
    extended = torch.cat([records, records.new_ones(len(records), 1)], 1)
    clues = []
    for neuron, row in enumerate(rows):
        takers = _explain(row, extended)
        if takers is None:
            continue
        active = before[takers, neuron]
        if active.any() and not active.all():
            clues.append((takers[active], takers[~active]))
    return clues


def _explain(row: Tensor, extended: Tensor, most: int = 8) -> Tensor | None:
    """Return the few rows of `extended` whose combination is `row`, by orthogonal matching pursuit; None if none is."""
    size = row.norm()
    if size == 0:
        return None
    directions = extended / extended.norm(dim=1, keepdim=True)
    chosen: list[int] = []
    rest = row
    for _ in range(min(most, len(row) // 2 - 1)):
        chosen.append(int((directions @ rest).abs().argmax()))
        basis = extended[chosen].T
        coefficients = torch.linalg.lstsq(basis, row[:, None]).solution[:, 0]
        rest = row - basis @ coefficients
        if rest.norm() < 1e-6 * size:
            weighty = (coefficients.abs() * extended[chosen].norm(dim=1)) > 1e-5 * size
            return torch.tensor(chosen)[weighty]
    return None


def sparse(model: nn.Module, share: float) -> nn.Module:
    """Return a copy whose first-layer neurons each fire on about `share` of standardised records.

    That is what a server does that *chooses* the model in order to learn more (trap weights, Boenisch et al. 2021,
    arXiv 2112.02918, section 5): it lowers each bias by a normal quantile of the neuron's input. It needs to know
    the scale of the features, which federated preprocessing has made public, and nothing else.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share}: expected a number between 0 and 1, such as 0.05")
    model = copy.deepcopy(model)
    _, layer = first_dense(model)
    with torch.no_grad():
        quantile = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - share)).to(layer.bias)
        layer.bias.copy_(-quantile * layer.weight.norm(dim=1))
    return model
