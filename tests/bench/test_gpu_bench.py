"""The GPU script runs every way of training, here on the CPU at smoke size; without a GPU the command refuses."""

from __future__ import annotations

import pytest
import torch

from labkit.bench import gpu
from labkit.data import Dataset
from labkit.dp.training.engines import ENGINES


@pytest.fixture
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(70, 3, 32, 32, generator=generator), torch.arange(70) % 10
    return Dataset(
        "noise", "noise, made in the test", False, x[:64], y[:64], x[64:], y[64:], tuple("abcdefghij")
    )


def test_every_way_of_training_runs_on_a_device_that_is_named(images) -> None:
    found = gpu.run(torch.device("cpu"), size=gpu.SMOKE, images=images, whole=False)
    measured = list(found.table().index)
    assert [f"private training, engine {engine}" in measured for engine in ENGINES] == [True] * len(ENGINES)
    assert {"2 models, weights stacked", "2 models, one by one"} <= set(measured)
    assert all(line.ours > 0 and line.peer > 0 for line in found.lines)
    assert "precision there: " in str(found)


def test_ways_give_the_same_models_stacked_and_one_by_one(images) -> None:
    ways = gpu.ways(images, gpu.SMOKE)
    loop, stacked = (
        dict(ways[f"2 models, {how}"](torch.device("cpu"))) for how in ("one by one", "weights stacked")
    )
    for k, state in loop.items():
        for name, value in state.items():
            torch.testing.assert_close(stacked[k][name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so(capsys) -> None:
    assert gpu.main([]) == 2
    assert "there is no GPU" in capsys.readouterr().err
