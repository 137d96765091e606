"""Build a shadow bank: models trained on random halves of a pool, their outputs kept on disk, model by model.

Shokri et al., "Membership inference attacks against machine learning models" (arXiv 1610.05820); the balanced design
follows Carlini et al. (arXiv 2112.03570), in complementary pairs as in Privacy Meter's experiments.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from labkit import cache, profiles, progress
from labkit.membership.shadows import queries as query
from labkit.membership.shadows.bank import ShadowBank, ask
from labkit.training import many
from labkit.training.recipe import Recipe, State
from labkit.training.shelf import CODE as TRAINING
from labkit.training.shelf import model_identity, save_array

if TYPE_CHECKING:
    from labkit.data import Dataset


# What a bank depends on besides its settings: how its models were trained, and how they were asked.
CODE = (*TRAINING, query._all)


def balanced_masks(models: int, records: int, *, seed: int = 0) -> np.ndarray:
    """Return who trains on what, bool (models, records): pairs of models share the records between them.

    Models 2j and 2j + 1 take complementary random halves, so every record is in for exactly ``models / 2``. Pair j
    depends on ``seed`` and j alone: a bank can grow without retraining.

    Raises
    ------
    ValueError
        If either number is odd or below 2.
    """
    if models < 2 or models % 2 or records < 2 or records % 2:
        raise ValueError(
            f"got {models} models and {records} records; both must be even and at least 2, "
            "so that every record can be in for exactly half of the models"
        )
    masks = np.zeros((models, records), dtype=bool)
    for pair in range(models // 2):
        first = np.random.default_rng([seed, pair]).permutation(records)[: records // 2]
        masks[2 * pair, first] = True
        masks[2 * pair + 1] = ~masks[2 * pair]
    return masks


def shadow_bank(
    dataset: Dataset,
    *,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    shadow_models: int = 16,
    pool: int | None = None,
    population: int | None = None,
    queries: int = 1,
    seed: int = 0,
    dtype: str = "float32",
    strategy: str = "auto",
    workers: int | None = None,
    name: str | None = None,
) -> ShadowBank:
    """Train shadow models on halves of a pool and keep their outputs; whatever exists already is reused.

    Parameters
    ----------
    dataset : Dataset
        The pool is drawn from its train records, the population is the first of its test records.
    make_model : callable
        Returns a fresh model, ``models.cifar_cnn`` for example. Known to the cache by its structure and weights.
    recipe : Recipe
    shadow_models : int
        Even. A bank of 16 contains the bank of 4 made with the same settings.
    pool, population : int, optional
        Numbers of records (default: all; an odd pool loses a record).
    queries : int
        1 plain, 2 with the mirror image, up to 18 with shifts.
    dtype : {"float32", "float16"}
        Of the logits on disk: half size at 3 digits.
    strategy, workers
        See `labkit.training.many.train_many`.

    Returns
    -------
    ShadowBank

    Notes
    -----
    Interrupt at will: each model is written when it is done, the file that says so last (atomically).

    Raises
    ------
    ValueError
        If a size is out of range.
    """
    pool = (pool or len(dataset.train_y)) // 2 * 2
    population = population or len(dataset.test_y)
    if pool > len(dataset.train_y) or population > len(dataset.test_y):
        raise ValueError(
            f"asked for a pool of {pool:,} and a population of {population:,}; {dataset.name} has "
            f"{len(dataset.train_y):,} train and {len(dataset.test_y):,} test records"
        )
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float16'")
    masks = balanced_masks(shadow_models, pool, seed=seed)
    chosen = pool_of(dataset, pool, seed)
    asked = query.names(queries)
    key = _key(dataset, make_model, recipe, pool, population, asked, seed, dtype)
    bank = ShadowBank(
        name=name or f"{dataset.name} shadows",
        source=dataset.source,
        profile=profiles.current().name,
        classes=dataset.classes,
        x=dataset.train_x[chosen],
        y=dataset.train_y[chosen],
        population_x=dataset.test_x[:population],
        population_y=dataset.test_y[:population],
        masks=masks,
        partners=np.arange(shadow_models) ^ 1,
        queries=asked,
        recipe=recipe,
        make_model=make_model,
        folder=cache.directory() / "shadows" / key,
        key=key,
        rows=np.arange(shadow_models),
        asked=tuple(range(queries)),
        seed=seed,
        dtype=dtype,
    )
    return replace(bank, seconds=_complete(bank, strategy, workers))


def sibling(
    bank: ShadowBank,
    *,
    recipe: Recipe | None = None,
    make_model: Callable[[], nn.Module] | None = None,
    name: str = "sibling",
    strategy: str = "auto",
    workers: int | None = None,
) -> ShadowBank:
    """Return shadow models on the same halves of the same pool, of another recipe or architecture.

    What an attacker would train who knows the defence, or who does not know the architecture.

    Raises
    ------
    ValueError
        If the bank is a selection: its masks would not name their files.
    """
    if not (bank.rows == np.arange(len(bank))).all():
        raise ValueError(
            f"this bank holds models {bank.rows.tolist()}; make siblings of a whole bank, or its first few"
        )
    recipe, make_model = recipe or bank.recipe, make_model or bank.make_model
    key = cache.digest(bank.key, recipe, list(bank.queries), *model_identity(make_model), list(CODE))[:32]
    changed = replace(
        bank,
        name=name,
        recipe=recipe,
        make_model=make_model,
        key=key,
        folder=cache.directory() / "shadows" / key,
        asked=tuple(range(len(bank.queries))),
        _signals={},
    )
    return replace(changed, seconds=_complete(changed, strategy, workers))


def pool_of(dataset: Dataset, pool: int, seed: int) -> torch.Tensor:
    """Return the positions, among the train records, of a pool's records; those left are the attacker's reserve."""
    return torch.from_numpy(np.random.default_rng([seed, 2**31]).permutation(len(dataset.train_y))[:pool])


def reserve_of(dataset: Dataset, pool: int, seed: int) -> torch.Tensor:
    """Return the positions of the train records outside the pool."""
    order = np.random.default_rng([seed, 2**31]).permutation(len(dataset.train_y))
    return torch.from_numpy(order[pool // 2 * 2 :])


def _key(
    dataset: Dataset,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    pool: int,
    population: int,
    asked: tuple[str, ...],
    seed: int,
    dtype: str,
) -> str:
    """Content hash of a bank; the number of models is no part of it, so that banks can grow."""
    settings = [dataset.digest, recipe, pool, population, list(asked), seed, dtype]
    return cache.digest(settings, *model_identity(make_model), list(CODE))[:32]


def _complete(bank: ShadowBank, strategy: str, workers: int | None) -> float:
    """Train what is missing and return the seconds that this call took over it."""
    missing = [k for k in range(len(bank)) if not (bank.folder / f"model-{k:03d}.pt").is_file()]
    if not missing:
        return 0.0
    start = time.perf_counter()
    _describe(bank)
    seeds = [1_000_003 * bank.seed + k for k in missing]
    trained = many.train_many(
        bank.make_model,
        bank.x,
        bank.y,
        bank.masks[missing],
        bank.recipe,
        seeds=seeds,
        strategy=strategy,
        workers=workers,
    )
    with progress.bar(len(bank), f"shadow models, {bank.source}", initial=len(bank) - len(missing)) as shown:
        for row, state in trained:
            _keep(bank, missing[row], state)
            shown.update()
    return time.perf_counter() - start


def _keep(bank: ShadowBank, k: int, state: State) -> None:
    """Write one model's outputs, then its weights: the weights' file says that all is there."""
    model = bank.make_model()
    model.load_state_dict(state)
    for part, x in (("pool", bank.x), ("population", bank.population_x)):
        save_array(bank.folder / f"{part}-{k:03d}.npy", ask(model, x, bank.queries, bank.dtype))
    with cache.atomic_path(bank.folder / f"model-{k:03d}.pt") as path:
        torch.save(state, path)


def _describe(bank: ShadowBank) -> None:
    """Leave a note for whoever opens the folder."""
    facts = {
        "name": bank.name,
        "source": bank.source,
        "recipe": asdict(bank.recipe),
        "model": repr(bank.make_model()),
        "pool": len(bank.y),
        "population": len(bank.population_y),
        "queries": list(bank.queries),
        "seed": bank.seed,
    }
    with cache.atomic_path(bank.folder / "bank.json") as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
