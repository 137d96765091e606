"""Targets to attack: models trained as the shadow models were, on halves of the pool that none of them had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit import cache
from labkit.membership.shadows.bank import ShadowBank, Target, accuracy, ask
from labkit.training import own
from labkit.training.recipe import Recipe
from labkit.training.shelf import CODE, model_identity, model_of, train_missing

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

    Warns
    -----
    CacheWarning
        If a target cannot be kept on disk; it is returned all the same.
    """
    recipe, seeds = recipe or bank.recipe, list(seeds)
    masks = fresh_halves(bank, seeds)
    if bank.train is not None:
        return _own_targets(bank, seeds, masks, name)
    identity = model_identity(bank.make_model)
    keys = [cache.digest(bank.key, recipe, seed, *identity, list(CODE))[:32] for seed in seeds]
    folder = cache.directory() / "targets"
    states = train_missing(
        [folder / f"{key}.pt" for key in keys],
        bank.make_model,
        bank.x,
        bank.y,
        masks,
        recipe,
        seeds=[7_000_003 + seed for seed in seeds],
        what=f"{name}, {bank.source}",
    )
    return [
        _asked(bank, state, key, mask, f"{name} (seed {seed})")
        for state, key, mask, seed in zip(states, keys, masks, seeds, strict=True)
    ]


def _own_targets(bank: ShadowBank, seeds: list[int], masks: np.ndarray, name: str) -> list[Target]:
    """Return targets that the bank's own training function trains."""
    keys = [cache.digest(bank.key, bank.train, seed, list(own.CODE))[:32] for seed in seeds]
    models = own.train_missing(
        [cache.directory() / "targets" / f"{key}.pt" for key in keys],
        bank.train,
        bank.x,
        bank.y,
        masks,
        seeds=[7_000_003 + seed for seed in seeds],
        classes=len(bank.classes),
        what=f"{name}, {bank.source}",
    )
    return [
        bank.query(model, mask, name=f"{name} (seed {seed})")
        for model, mask, seed in zip(models, masks, seeds, strict=True)
    ]


def _asked(
    bank: ShadowBank, state: dict[str, torch.Tensor], key: str, members: np.ndarray, name: str
) -> Target:
    """Return a trained target with its answers, asked once for each set of queries and then read from disk."""
    model = model_of(bank.make_model, state)

    def questions() -> tuple[np.ndarray, np.ndarray]:
        parts = (bank.x, bank.population_x)
        pool, population = (ask(model, part, bank.queries, bank.dtype) for part in parts)
        return pool, population

    settings = {
        "target": key,
        "queries": list(bank.queries),
        "dtype": bank.dtype,
        "model": model_identity(bank.make_model),
    }
    pool, population = cache.cached("answers", settings, questions, code=[ask])
    return Target(
        logits=pool,
        population_logits=population,
        members=members,
        name=name,
        accuracy=accuracy(population, bank.population_labels),
        model=model,
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
