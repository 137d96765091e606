"""Targets to attack: models trained as the shadow models were, on halves of the pool that none of them had."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit import cache, progress
from labkit.membership.shadows.bank import ShadowBank, Target, accuracy, ask
from labkit.training import many
from labkit.training.recipe import Recipe
from labkit.training.shelf import CODE, model_identity, save_array

if TYPE_CHECKING:
    from labkit.data import Dataset


def fresh_halves(bank: ShadowBank, seeds: Iterable[int]) -> np.ndarray:
    """Return new random halves of the pool, (targets, n), that no shadow model was trained on."""
    n = len(bank.y)
    masks = np.zeros((len(seeds := list(seeds)), n), dtype=bool)
    for row, seed in enumerate(seeds):
        masks[row, np.random.default_rng([seed, 2**31 + 1]).permutation(n)[: n // 2]] = True
    return masks


def train_targets(
    bank: ShadowBank, *, seeds: Iterable[int] = (1,), recipe: Recipe | None = None, name: str = "target"
) -> list[Target]:
    """Train models as the bank's were, each on a fresh random half of the pool, and ask them the bank's questions.

    Parameters
    ----------
    seeds : iterable of int
        One target each: its half, initial weights and order of records.
    recipe : Recipe, optional
        Another recipe than the bank's, to see what a defence changes.
    """
    recipe, seeds = recipe or bank.recipe, list(seeds)
    masks = fresh_halves(bank, seeds)
    identity = model_identity(bank.make_model)
    keys = [cache.digest(bank.key, recipe, seed, *identity, list(CODE))[:32] for seed in seeds]
    folder = cache.directory() / "targets"
    missing = [row for row, key in enumerate(keys) if not (folder / f"{key}.pt").is_file()]
    if missing:
        trained = many.train_many(
            bank.make_model,
            bank.x,
            bank.y,
            masks[missing],
            recipe,
            seeds=[7_000_003 + seeds[r] for r in missing],
        )
        for row, state in progress.track(trained, f"{name}, {bank.source}", total=len(missing)):
            with cache.atomic_path(folder / f"{keys[missing[row]]}.pt") as path:
                torch.save(state, path)
    return [
        _asked(bank, folder / f"{key}.pt", mask, f"{name} (seed {seed})")
        for key, mask, seed in zip(keys, masks, seeds, strict=True)
    ]


def _asked(bank: ShadowBank, weights: Path, members: np.ndarray, name: str) -> Target:
    """Return a trained target with its answers, asked once for each set of queries and then read from disk."""
    model = bank.make_model()
    model.load_state_dict(torch.load(weights, weights_only=True))
    stem = f"{weights.stem}-{cache.digest(list(bank.queries), bank.dtype)[:8]}"
    pool, population = (weights.with_name(f"{stem}-{part}.npy") for part in ("pool", "population"))
    if not pool.is_file():
        save_array(population, ask(model, bank.population_x, bank.queries, bank.dtype))
        save_array(pool, ask(model, bank.x, bank.queries, bank.dtype))
    outsiders = np.load(population)
    return Target(
        logits=np.load(pool),
        population_logits=outsiders,
        members=members,
        name=name,
        accuracy=accuracy(outsiders, bank.population_labels),
        model=model.eval(),
    )


def members_dataset(bank: ShadowBank, members: np.ndarray) -> Dataset:
    """Return a Dataset whose train records are ``members`` of the pool, for trainers that want one (DP-SGD)."""
    from labkit.data import Dataset

    chosen = torch.from_numpy(members)
    return Dataset(
        name=bank.name,
        source=bank.source,
        real="stand-in" not in bank.source,
        train_x=bank.x[chosen],
        train_y=bank.y[chosen],
        test_x=bank.population_x,
        test_y=bank.population_y,
        classes=bank.classes,
    )
