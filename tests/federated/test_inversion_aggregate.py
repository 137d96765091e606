"""Secure sums taken apart: recovered records are records, and hospitals are told apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.federated.inversion import aggregate
from labkit.federated.inversion.aggregate import AggregatedRound


def perceptron(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2)).double()


@pytest.fixture(scope="module")
def attacked():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 30, generator=generator, dtype=torch.float64)
    y = torch.arange(20) % 2
    owner = torch.arange(20) // 2 % 5
    holdings = [(x[owner == h], y[owner == h]) for h in range(5)]
    seen = []
    for seed in range(10):
        model = aggregate.sparse(perceptron(seed), 0.05)
        seen += aggregate.fedavg_rounds(
            model, holdings, rounds=1, batch_size=2, learning_rate=0.5, generator=generator
        )
    return x, owner, seen


def test_records_come_out_of_sums_of_several_local_steps(attacked):
    x, _, seen = attacked
    found = aggregate.disaggregate(seen).records
    distance = (found[:, None] - x[None]).abs().amax(2)
    assert len(found) >= 10
    assert (distance.amin(1) < 1e-3).all()


def test_records_of_one_hospital_are_put_together_and_no_others(attacked):
    x, owner, seen = attacked
    groups = aggregate.regroup(seen)
    distance = (groups.records[:, None] - x[None]).abs().amax(2)
    right, said, true = groups.pairs(owner[distance.argmin(1)])
    assert right == said
    assert 0.2 * true < right


def test_pairs_count_a_false_record_against_the_attacker():
    groups = aggregate.Groups(torch.zeros(4, 2), torch.tensor([0, 0, 0, 3]))
    assert groups.pairs(torch.tensor([1, 1, -1, 1])) == (1, 3, 3)


def test_a_mixture_that_many_neurons_of_one_round_agree_on_is_no_record():
    mixture = torch.tensor([[1.0, 2.0]]).expand(3, 2)
    bias = torch.tensor([1.0, 2.0, 3.0])
    once = AggregatedRound(torch.ones(3, 2), torch.zeros(3), mixture * bias[:, None], bias)
    other = AggregatedRound(torch.ones(3, 2), torch.zeros(3), (mixture + 0.1) * bias[:, None], bias)
    assert len(aggregate.disaggregate([once, other])) == 0
    assert len(aggregate.disaggregate([once, once])) == 1


def test_one_local_step_gives_no_clue_to_hospitals(attacked):
    x, owner, _ = attacked
    holdings = [(x[owner == h], torch.zeros(4, dtype=torch.long)) for h in range(5)]
    seen = aggregate.fedavg_rounds(
        aggregate.sparse(perceptron(0), 0.05),
        holdings,
        rounds=3,
        local_steps=1,
        generator=torch.Generator().manual_seed(0),
    )
    assert aggregate.regroup(seen).pairs(torch.zeros(len(aggregate.regroup(seen).records)))[1] == 0


def test_share_of_active_neurons_is_as_asked():
    model = aggregate.sparse(perceptron(0), 0.05)
    x = torch.randn(4000, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float((model[0](x) > 0).double().mean()) == pytest.approx(0.05, abs=0.01)
    with pytest.raises(ValueError, match="share"):
        aggregate.sparse(model, 0.0)
