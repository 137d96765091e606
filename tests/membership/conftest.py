"""Banks for tests: outputs made from random numbers (no training), and a tiny one that is really trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from labkit import membership, stats
from labkit.membership.shadows.bank import ShadowBank, Target
from labkit.models import perceptron
from labkit.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _quiet_and_apart(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "labkit-cache"))


@dataclass(frozen=True)
class Made:
    """A bank and a target whose outputs were drawn, members' label logits raised by ``effect``."""

    bank: ShadowBank
    target: Target


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """Return a maker of `Made`: records differ in difficulty, members' label logits are raised by ``effect``."""
    count = 0

    def maker(
        *,
        models: int = 8,
        n: int = 200,
        m: int = 150,
        queries: int = 2,
        classes: int = 4,
        effect: float = 1.0,
        noise: float = 1.0,
        seed: int = 0,
        shape: tuple[int, ...] = (3, 8, 8),
    ) -> Made:
        nonlocal count
        count += 1
        folder = tmp_path / f"bank-{count}"
        folder.mkdir()
        rng = np.random.default_rng(seed)
        masks = membership.balanced_masks(models, n, seed=seed)
        y, population_y = rng.integers(0, classes, n), rng.integers(0, classes, m)
        hard, population_hard = rng.normal(1, 2, n), rng.normal(1, 2, m)

        def outputs(labels: np.ndarray, difficulty: np.ndarray, members: np.ndarray) -> np.ndarray:
            logits = noise * rng.normal(size=(len(labels), queries, classes))
            logits[np.arange(len(labels)), :, labels] += (difficulty + effect * members)[:, None]
            return logits.astype("float32")

        def both(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return outputs(y, hard, members), outputs(population_y, population_hard, np.zeros(m))

        for k in range(models):
            pool, population = both(masks[k])
            np.save(folder / f"pool-{k:03d}.npy", pool)
            np.save(folder / f"population-{k:03d}.npy", population)
        bank = ShadowBank(
            name="drawn",
            source="drawn outputs",
            profile="smoke",
            classes=tuple("abcdefgh"[:classes]),
            x=torch.from_numpy(rng.random((n, *shape), dtype="float32")),
            y=torch.from_numpy(y),
            population_x=torch.from_numpy(rng.random((m, *shape), dtype="float32")),
            population_y=torch.from_numpy(population_y),
            masks=masks,
            partners=np.arange(models) ^ 1,
            queries=membership.shadows.queries.names(queries),
            recipe=Recipe(epochs=1),
            make_model=partial(perceptron, 3, 2, classes),
            folder=folder,
            key=f"drawn-{count}",
            rows=np.arange(models),
            asked=tuple(range(queries)),
        )
        members = np.zeros(n, dtype=bool)
        members[rng.permutation(n)[: n // 2]] = True
        pool, population = both(members)
        return Made(bank, Target(pool, population, members, "drawn target", stats.clopper_pearson(m // 2, m)))

    return maker


@dataclass(frozen=True)
class Clouds:
    """Two overlapping clouds with a tenth of the labels flipped: a network memorises what it cannot learn."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    name: str = "clouds"
    source: str = "two clouds (made in the test)"
    classes: tuple[str, ...] = ("left", "right")
    digest: str = "clouds-1"


@pytest.fixture(scope="session")
def clouds() -> Clouds:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(600) % 2
    x = torch.randn(600, 8, generator=generator) + 1.0 * y[:, None]
    flipped = torch.where(torch.rand(600, generator=generator) < 0.1, 1 - y, y)
    return Clouds(x[:400], flipped[:400], x[400:], flipped[400:])


RECIPE = Recipe(epochs=60, learning_rate=0.1, batch_size=50)


@pytest.fixture
def bank(clouds: Clouds) -> ShadowBank:
    """Eight perceptrons trained on halves of the clouds; trained once per test session (the cache is shared)."""
    return membership.shadow_bank(
        clouds, make_model=partial(perceptron, 8, 64), recipe=RECIPE, shadow_models=8, strategy="stacked"
    )
