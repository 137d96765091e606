"""Exact records out of dense layers, honest models and malicious ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from labkit.federated.inversion import dense, malicious
from labkit.federated.inversion.observation import observe
from labkit.federated.inversion.peeling import peel


def perceptron(seed: int = 0, hidden: int = 64, classes: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(30, hidden), nn.ReLU(), nn.Linear(hidden, classes)).double()


def batch(n: int, seed: int = 0, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 30, generator=generator, dtype=torch.float64),
        torch.randint(classes, (n,), generator=generator),
    )


@pytest.mark.parametrize("classes", [2, 10])
def test_single_record_is_returned_exactly(classes):
    model, (x, y) = perceptron(classes=classes), batch(1, classes=classes)
    found = dense.recover(model, observe(model, x, y))
    assert torch.allclose(found.records[0], x[0], atol=1e-9)


def test_in_a_batch_a_record_with_a_neuron_to_itself_is_returned_and_a_mixture_is_not_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.zero_()
    x = torch.tensor([[1.0, 2.0], [-1.0, 3.0]], dtype=torch.float64)  # neuron 0: the first alone; 1: both
    found = dense.recover(model, observe(model, x, torch.tensor([0, 0])))
    assert dense.exactly(found.records, x, 1e-6).tolist() == [True, False]


def test_exact_rate_counts_records_within_the_tolerance_in_every_coordinate():
    records = torch.zeros(4, 3)
    records[1, 2] = 0.5
    rate = dense.exact_rate(torch.full((1, 3), 0.009), records, tolerance=0.01)
    assert (rate.estimate, rate.low < 0.75 < rate.high) == (0.75, True)
    assert dense.exact_rate(torch.empty(0, 3), records).estimate == 0
    with pytest.raises(ValueError, match="tolerance"):
        dense.exact_rate(records, records, tolerance=0.0)


@pytest.mark.parametrize(
    "model", [nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), nn.Linear(3, 2, bias=False)]
)
def test_models_without_a_first_dense_layer_are_refused(model):
    with pytest.raises(ValueError, match=r"dense layer|no bias"):
        dense.first_dense(model)


@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_peeling_returns_whole_batches_of_eight_and_nothing_else(max_grad_norm):
    for seed in range(5):
        model, (x, y) = perceptron(seed), batch(8, seed)
        found = peel(model, observe(model, x, y, max_grad_norm=max_grad_norm, hospitals=4))
        assert dense.exactly(found.records, x, 1e-4).all()
        assert len(found) == 8


def test_peeling_subtracts_what_it_knows():
    model, (x, y) = perceptron(classes=3), batch(3, seed=2, classes=3)
    seen = observe(model, x, y)
    alone = dense.exactly(dense.recover(model, seen).records, x, 1e-4).sum()
    assert dense.exactly(peel(model, seen).records, x, 1e-4).sum() >= alone > 0


def test_noise_leaves_peeling_without_proof():
    model, (x, y) = perceptron(), batch(5)
    noise = {"max_grad_norm": 1.0, "noise_multiplier": 0.01, "generator": torch.Generator().manual_seed(0)}
    found = peel(model, observe(model, x, y, **noise))
    assert not dense.exactly(found.records, x, 1e-2).any()


def test_peeling_refuses_models_that_it_does_not_understand():
    model = nn.Sequential(nn.Linear(30, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="Linear, Tanh, Linear"):
        peel(model, observe(model, torch.zeros(1, 30), torch.tensor([0])))


def test_imprinted_models_read_sums_that_honest_ones_hide():
    model, (x, y) = perceptron(), batch(40)
    honest = dense.exactly(peel(model, observe(model, x, y, hospitals=5)).records, x, 1e-3).double().mean()
    generator = torch.Generator().manual_seed(0)
    answers = []
    for _ in range(6):
        direction = torch.randn(30, generator=generator, dtype=torch.float64)
        cuts = direction.norm() * torch.linspace(-2.5, 2.5, 64, dtype=torch.float64)
        sent = malicious.imprint(model, direction, cuts)
        answers.append((sent, observe(sent, x, y, max_grad_norm=1.0, hospitals=5)))
    harvested = dense.exactly(malicious.harvest(model, answers).records, x, 1e-3).double().mean()
    assert honest < 0.2
    assert harvested > 0.9


def test_trap_puts_the_whole_clipped_gradient_of_one_record_into_one_row():
    model, (x, y) = perceptron(), batch(40)
    direction = torch.ones(30, dtype=torch.float64)
    first, second = (x @ direction).topk(2).values.tolist()
    target = int((x @ direction).argmax())
    sent = malicious.tail_trap(model, direction, (first + second) / 2)
    weight, bias = dense.dense_rows(sent, observe(sent, x, y, max_grad_norm=2.0, hospitals=5))
    row = torch.cat([weight[0], bias[:1]])
    assert float(row.norm()) == pytest.approx(2.0, rel=1e-4)
    assert torch.allclose(row[:-1] / row[-1], x[target], atol=1e-6)


def test_least_squares_reading_is_the_posterior_mean():
    # Against self-normalised importance sampling from the prior: 200,000 draws, error about 0.005, 8 sigma allowed.
    generator = torch.Generator().manual_seed(0)
    covariance = torch.tensor([[1.0, 0.6], [0.6, 1.0]])
    mean, row, signal, noise = torch.tensor([0.5, -0.5]), torch.tensor([0.4, 0.1, 0.3]), 0.3, 0.4
    draws = mean + torch.randn(200_000, 2, generator=generator) @ torch.linalg.cholesky(covariance).T
    weights = (-(row[:-1] - signal * draws).square().sum(1) / (2 * noise**2)).exp()
    expected = (weights[:, None] * draws).sum(0) / weights.sum()
    found = malicious.wiener(row, signal=signal, noise_std=noise, mean=mean, covariance=covariance)
    assert torch.allclose(found, expected, atol=0.04)
    assert math.isfinite(float(found.sum()))
