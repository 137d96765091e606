from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from labkit import models, training


@dataclass(frozen=True)
class Toy:
    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    source: str = "two clouds (made in the test)"


@pytest.fixture
def toy() -> Toy:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    x = torch.randn(400, 5, generator=generator) + 3.0 * y[:, None]
    return Toy(x[:300], y[:300], x[300:], y[300:])


def test_fit_learns_repeats_and_leaves_the_given_model_alone(toy: Toy) -> None:
    model = models.logistic_regression(5, 2)
    first = training.fit(model, toy, epochs=5, batch_size=20, seed=1)
    second = training.fit(model, toy, epochs=5, batch_size=20, seed=1)
    assert (
        first.accuracy.estimate > 0.95
    )  # Bayes accuracy is 0.9996: two clouds 6.7 standard deviations apart
    assert torch.equal(first.model.linear.weight, second.model.linear.weight)
    assert not model.linear.weight.any()
    assert "two clouds" in str(first)


def test_evaluate_counts_and_gives_an_interval(toy: Toy) -> None:
    measured = training.evaluate(models.logistic_regression(5, 2), toy.test_x, toy.test_y)
    assert measured.accuracy.estimate == 0.5  # a zero model answers class 0 for everyone
    assert measured.accuracy.low < 0.5 < measured.accuracy.high
    assert measured.loss == pytest.approx(0.6931, abs=1e-4)


def test_one_cycle_rises_then_falls_to_nearly_zero() -> None:
    factors = [training.one_cycle(step, 10) for step in range(10)]
    assert max(factors) == 1
    assert factors[0] == 0.5
    assert factors[-1] == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_x": torch.full((300, 5), float("nan"))}, "record 0 holds NaN"),
        ({"train_y": torch.zeros(299, dtype=torch.int64)}, "300 inputs and 299 labels"),
        ({"train_y": torch.zeros(300)}, "labels are torch.float32"),
    ],
)
def test_bad_records_are_named(toy: Toy, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training.fit(models.logistic_regression(5, 2), replace(toy, **change))


def test_divergence_is_named(toy: Toy) -> None:
    wild = replace(toy, train_x=toy.train_x * 1e30)
    with pytest.raises(FloatingPointError, match="lower learning_rate=1e"):
        training.fit(models.logistic_regression(5, 2), wild, learning_rate=1e20)
