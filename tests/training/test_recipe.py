"""The one loop: batches, extra losses beside BatchNorm, and seeding that threads cannot mix."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from labkit import models, training
from labkit.training.recipe import Recipe, batches, descend, fresh, lengths, steps_of, train_one

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "batch", "expected"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (3, 4, [3]),
        (1, 4, [1]),
        (5, 1, [1] * 5),
        (8, 4, [4, 4]),
        (82, 40, [40, 42]),
        (90, 40, [40, 40, 10]),
    ],
)
def test_a_short_rest_joins_the_batch_before_it(size, batch, expected) -> None:
    recipe = Recipe(epochs=3, batch_size=batch)
    assert lengths(size, batch) == expected
    assert steps_of(size, recipe) == 3 * len(expected)
    cut = [positions for positions, _, _ in batches(size, recipe, False, torch.Generator().manual_seed(0))]
    assert [len(positions) for positions in cut] == expected
    assert sorted(torch.cat(cut).tolist()) == list(range(size))


def test_an_extra_loss_meets_batch_norm_as_it_stands_and_leaves_it_alone() -> None:
    """Marks alone in a batch must not stand for the records: neither in the statistics, nor by their own."""
    x, y = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    marks, seen = 100 + torch.zeros(8, 3), []

    def extra(model: nn.Module, step: int) -> torch.Tensor:
        seen.append((model[0].training, model.training))
        return 0.0 * F.cross_entropy(model(marks), torch.zeros(8, dtype=torch.int64))

    def trained(extra) -> nn.Module:
        model = fresh(lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), 0)
        assert len(list(descend(model, x, y, Recipe(epochs=2, batch_size=20), seed=0, extra=extra))) == 4
        return model

    with_marks, without = trained(extra), trained(None)
    assert seen == [(False, True)] * 4
    assert torch.equal(with_marks[0].running_mean, without[0].running_mean)
    assert torch.equal(with_marks[1].weight, without[1].weight)
    assert with_marks[0].training


def test_models_seeded_in_threads_are_those_seeded_alone() -> None:
    """Every way to seed holds one lock: two threads that mixed their draws would differ from one alone."""
    make = partial(models.perceptron, 300, 300, 10)
    expected = {seed: fresh(make, seed)[1].weight for seed in range(4)}
    found: dict[int, torch.Tensor] = {}

    def work(seed: int) -> None:
        for _ in range(5):
            found[seed] = fresh(lambda: models.fast_cnn(8, seed=seed) and make(), seed)[1].weight
            models.cifar_cnn(8, seed=seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[seed], weight) for seed, weight in expected.items())


@pytest.mark.parametrize("make", [models.fast_cnn, models.cifar_cnn, models.strided_cnn])
def test_networks_come_with_either_norm(make) -> None:
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    grouped, batched = make(8), make(8, norm="batch")
    assert grouped(x).shape == batched(x).shape == (3, 10)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in grouped.modules())
    assert not any(isinstance(part, nn.GroupNorm) for part in batched.modules())
    assert models.parameter_count(grouped) == models.parameter_count(batched)
    with pytest.raises(ValueError, match="norm is 'layer'; expected one of group, batch"):
        make(8, norm="layer")


def test_a_model_without_parameters_can_be_asked() -> None:
    """Trusted-AI/adversarial-robustness-toolbox issue 1215: something of which only predictions are to be had."""
    assert torch.equal(training.logits(nn.Flatten(), torch.ones(2, 3, 1)), torch.ones(2, 3))
    with pytest.raises(ValueError, match="nothing to train"):
        train_one(nn.Flatten, torch.ones(2, 3), torch.tensor([0, 1]), Recipe(epochs=1), 0, CPU)
