"""Every wing on a GPU: what it computes there is what the CPU computes, and a statement of ε does not know the device.

Skipped where torch finds no GPU. Tolerances: sums of float32 in another order differ by about 1e-6 of their size, and
convolutions on recent GPUs round their inputs to ten bits (TF32, about 1e-3), which a short training carries along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from labkit import audit, dp, membership, models, profiles, training
from labkit.data import Dataset
from labkit.dp.training import run as private_run
from labkit.dp.training.engines import ENGINES, Mechanism, make_engine
from labkit.models import perceptron, strided_cnn
from labkit.training import many
from labkit.training.recipe import Recipe, train_one
from labkit.watermark import Key, embed, verify

CPU, GPU = torch.device("cpu"), torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setattr(profiles, "device", lambda: GPU)  # all other tests compute on the CPU


@pytest.fixture
def on(monkeypatch, tmp_path) -> Callable[[torch.device], None]:
    """Return what makes a device the machine's, with a cache of its own: nothing made on one serves the other."""

    def choose(device: torch.device) -> None:
        monkeypatch.setattr(profiles, "device", lambda: device)
        monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / device.type))

    return choose


def clouds(n: int = 400) -> Dataset:
    """Three clouds of points in six dimensions."""
    y = torch.arange(n + 200) % 3
    x = torch.randn(n + 200, 6, generator=torch.Generator().manual_seed(0))
    x[torch.arange(n + 200), y] += 2.5
    return Dataset("clouds", "three clouds", False, x[:n], y[:n], x[n:], y[n:], ("a", "b", "c"))


def bars(n: int = 240) -> Dataset:
    """Four classes of 3x16x16 images: a bar at the class's height."""
    y = torch.arange(n + 200) % 4
    x = 0.35 + 0.3 * torch.rand(n + 200, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for label in range(4):
        x[y == label, label % 3, 4 * label : 4 * label + 3] += 0.25
    x = x.clamp(0, 1)
    return Dataset("bars", "bars", False, x[:n], y[:n], x[n:], y[n:], tuple("abcd"))


def halves(rows: int, n: int) -> np.ndarray:
    return np.stack([np.random.default_rng(k).permutation(n) < n // 2 for k in range(rows)])


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value.cpu(), other[name].cpu(), rtol=tolerance, atol=tolerance)


def test_one_model_ends_where_it_ends_on_the_cpu() -> None:
    make, recipe = partial(perceptron, 6, 16, 3), Recipe(epochs=3, learning_rate=0.05, batch_size=32)
    records = clouds()
    here, there = (
        train_one(make, records.train_x, records.train_y, recipe, 1, device) for device in (CPU, GPU)
    )
    close(here, there, 1e-3)
    assert all(value.device == CPU for value in there.values())


@pytest.mark.parametrize("pictures", [False, True], ids=["rows", "pictures"])
def test_stacked_weights_give_the_loops_models(pictures: bool) -> None:
    data = bars() if pictures else clouds()
    make = partial(strided_cnn, 8, size=16, classes=4) if pictures else partial(perceptron, 6, 16, 3)
    recipe = Recipe(epochs=2, learning_rate=0.02, batch_size=20, mirror=pictures, shift=int(pictures))
    masks = halves(3, len(data.train_y))
    loop, stacked, cpu = (
        dict(
            many.train_many(
                make,
                data.train_x,
                data.train_y,
                masks,
                recipe,
                seeds=range(3),
                strategy=way,
                device=device,
            )
        )
        for way, device in (("loop", GPU), ("stacked", GPU), ("loop", CPU))
    )
    for k in range(3):
        close(loop[k], stacked[k], 1e-2 if pictures else 1e-3)
        close(loop[k], cpu[k], 1e-2 if pictures else 1e-3)


def step_without_noise(engine: str, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the weights after one private step whose noise is zero."""
    data = clouds()
    model = models.logistic_regression(6, 3)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.linspace(-0.5, 0.5, value.numel()).view(value.shape))
    model.to(device).train()
    x, y = data.train_x.to(device), data.train_y.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    mechanism = Mechanism(
        noise_multiplier=0.0, max_grad_norm=0.5, sample_rate=0.25, expected_batch_size=100.0
    )
    records = torch.utils.data.TensorDataset(x, y)
    made = make_engine(engine, model, optimizer, mechanism, torch.Generator(device).manual_seed(0), records)
    made.step([(x[:60], y[:60]), (x[60:100], y[60:100])])
    return made.release().state_dict()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_clips_there_as_here(engine: str) -> None:
    close(step_without_noise(engine, CPU), step_without_noise(engine, GPU), 1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_batch_is_a_step_of_noise_of_the_stated_size(engine: str) -> None:
    """20,000 normal numbers: their spread lies within 5 of its standard errors (2.5%) but once in 1.7 million."""
    model = models.logistic_regression(1999, 10).to(GPU).train()
    x, y = torch.rand(50, 1999, device=GPU), torch.arange(50, device=GPU) % 10
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    made = make_engine(
        engine,
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        Mechanism(noise_multiplier=3.0, max_grad_norm=0.5, sample_rate=0.1, expected_batch_size=5.0),
        torch.Generator(GPU).manual_seed(0),
        torch.utils.data.TensorDataset(x, y),
    )
    made.step([(x[:0], y[:0])])
    moved = torch.cat([p.detach().flatten() for p in made.release().parameters()]) - before
    assert len(moved) == 20_000
    assert abs(float(moved.std()) / (3.0 * 0.5 / 5.0) - 1) < 0.025


@pytest.mark.parametrize("engine", ENGINES)
def test_private_training_states_the_same_epsilon(engine: str) -> None:
    here, there = (
        dp.train_private(
            models.logistic_regression(6, 3),
            clouds(),
            engine=engine,
            target_epsilon=3.0,
            expected_batch_size=80,
            steps=40,
            seed=0,
            device=device,
        )
        for device in (CPU, GPU)
    )
    assert there.privacy == here.privacy
    assert there.settings == here.settings
    # Noise of another generator, so another model; both learn clouds that a good model tells apart in 95%.
    assert abs(there.accuracy.estimate - here.accuracy.estimate) < 0.15
    assert next(there.model.parameters()).device.type == "cuda"


def test_an_interrupted_run_ends_where_it_would_have(tmp_path) -> None:
    def run() -> private_run.Run:
        settings = private_run.Settings("vmap", 1.0, 1.0, 80.0, 0.2, 6, 0.5, 0.9, "constant", 64, delta=1e-5)
        with models.seeded(0):
            model = models.logistic_regression(6, 3)
        return private_run.Run(model, clouds(), settings, 5, GPU)

    whole, first, second = run(), run(), run()
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    path = tmp_path / "run.pt"
    private_run.checkpoints.save(path, first.identity, first.state())
    second.restore(private_run.checkpoints.load(path, second.identity))
    for _ in range(3):
        second.step()
    close(whole.model.state_dict(), second.model.state_dict(), 0)


def test_a_curve_of_accuracy_and_epsilon_is_measured_there(on) -> None:
    curves = {}
    for device in (CPU, GPU):
        on(device)
        curves[device] = dp.tradeoff(
            clouds(), [1.0, 4.0], seeds=2, settings={"steps": 20, "sample_rate": 0.2}
        )
    here, there = (curves[device].table() for device in (CPU, GPU))
    assert list(here.index) == list(there.index)
    assert list(here.columns) == list(there.columns)


def test_a_shadow_bank_asks_and_answers_as_on_the_cpu(on) -> None:
    banks = {}
    for device in (CPU, GPU):
        on(device)
        banks[device] = membership.shadow_bank(
            bars(),
            make_model=partial(strided_cnn, 8, size=16, classes=4),
            recipe=Recipe(epochs=2, learning_rate=0.02, batch_size=20),
            shadow_models=4,
            pool=160,
            population=80,
            queries=2,
        )
    here, there = banks[CPU], banks[GPU]
    assert (here.masks == there.masks).all()
    for k in range(4):
        np.testing.assert_allclose(here.logits(k), there.logits(k), rtol=0.05, atol=0.15)
    target = there.query(there.model(0).to(GPU), there.masks[0])
    np.testing.assert_allclose(target.logits, there.logits(0), rtol=1e-3, atol=1e-3)
    attack = membership.attack("rmia-offline", there.target(0), there.without(0))
    assert np.isfinite(attack.scores).all()


def test_a_mark_is_embedded_and_found_there(on) -> None:
    on(GPU)
    data, recipe = bars(), Recipe(epochs=8, learning_rate=0.05, batch_size=20)
    make = partial(strided_cnn, 8, size=16, classes=4)
    marked = embed(
        "unrelated", make(), data, Key.from_phrase("a test on another device"), recipe=recipe, seed=1
    )
    assert next(marked.model.parameters()).device.type == "cuda"
    nulls = []
    for seed in range(20):
        model = make()
        model.load_state_dict(train_one(make, data.train_x, data.train_y, recipe, 100 + seed, GPU))
        nulls.append(model.eval() if seed % 2 else model.to(GPU).eval())
    found = verify(marked, marked.triggers, nulls)
    innocent = verify(nulls[0], marked.triggers, [*nulls[1:], nulls[1]][:20], minimum=19)
    assert marked.strength.estimate > 0.7
    assert found.p_value < 0.05
    assert innocent.rate.estimate < found.rate.estimate


def test_an_audit_runs_there(on) -> None:
    on(GPU)

    def train(dataset: Dataset) -> torch.nn.Module:
        net = torch.nn.Sequential(torch.nn.Linear(6, 200), torch.nn.ReLU(), torch.nn.Linear(200, 3))
        return training.fit(net, dataset, epochs=40, learning_rate=0.05, batch_size=32, seed=0).model

    found = audit.audit_one_run(train, clouds(), canary_count=200, claimed=0.1)
    assert found.epsilon > 0.1  # an overfitted model keeps no such promise
