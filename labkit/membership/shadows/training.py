"""Build a shadow bank: models trained on random halves of a pool, their outputs kept on disk, model by model.

Shokri et al., "Membership inference attacks against machine learning models" (arXiv 1610.05820); the balanced design
follows Carlini et al. (arXiv 2112.03570), in complementary pairs as in Privacy Meter's experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from labkit import cache, profiles
from labkit.membership.shadows import queries as query
from labkit.membership.shadows.bank import ShadowBank, ask
from labkit.membership.shadows.completion import complete
from labkit.training import many, own
from labkit.training.recipe import Recipe, State
from labkit.training.shelf import CODE as TRAINING
from labkit.training.shelf import model_identity

if TYPE_CHECKING:
    from labkit.data import Dataset


# What a bank depends on besides its settings: how its models were trained, and how they were asked.
CODE = (*TRAINING, ask)


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
    make_model: Callable[[], nn.Module] | None = None,
    recipe: Recipe | None = None,
    train: own.Train | None = None,
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
    train : callable, optional
        In the place of ``make_model`` and ``recipe``: ``train(x, y, seed)`` with records (n, ...) and labels (n,) returns a
        fitted torch model, or a scikit-learn estimator. Known to the cache by the code that it can reach.
    shadow_models : int
        Even. A bank of 16 contains the bank of 4 made with the same settings.
    pool, population : int, optional
        Numbers of records (default: all; an odd pool loses a record).
    queries : int
        1 plain, 2 with the mirror image, up to 18 with shifts.
    dtype : {"float32", "float16"}
        Of the logits on disk: half size at 3 digits.
    strategy, workers
        See `labkit.training.many.train_many`; with ``train=``, models are trained one by one unless ``workers`` says otherwise.

    Returns
    -------
    ShadowBank

    Notes
    -----
    Interrupt at will: each model is written when it is done, the file that says so last (atomically). Where the disk
    cannot be written, the bank keeps its models in memory and says so (``CacheWarning``).

    Raises
    ------
    ValueError
        If a size is out of range, or the model answers with probabilities: said before anything is trained.
    """
    own.one_way(make_model, recipe, train)
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
    if train is None:
        ask(make_model().eval(), dataset.train_x[:2], ("plain",))
    how = [train, *own.CODE] if train is not None else None
    key = _key(dataset, make_model, recipe, pool, population, asked, seed, dtype, how)
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
        positions=chosen.numpy(),
        train_records=len(dataset.train_y),
        train=train,
    )
    trainer = _by_recipe(bank, strategy, workers) if train is None else _by_own(bank, workers)
    return replace(bank, seconds=complete(bank, trainer))


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
    recipe, make_model = recipe or bank.recipe, make_model or bank.make_model
    if make_model is None or recipe is None:
        raise ValueError(
            f"{bank.name} has no recipe to change: its models come from your own function, or from arrays. Name make_model= and "
            "recipe=, or build the sibling with shadow_bank(train=...)"
        )
    changed = variant(
        bank,
        name=name,
        recipe=recipe,
        make_model=make_model,
        train=None,
        made=[recipe, *model_identity(make_model)],
        code=CODE,
    )
    return replace(changed, seconds=complete(changed, _by_recipe(changed, strategy, workers)))


def variant(
    bank: ShadowBank, *, name: str, made: list[Any], code: Sequence[Any] = (), **changes: Any
) -> ShadowBank:
    """Return a bank on the same halves of the same pool with a folder of its own, still to be trained: see `complete`.

    Parameters
    ----------
    made : list
        All that its models depend on besides ``bank``: recipes, settings, model identities (see `labkit.cache.digest`).
    code : sequence of modules and functions
        All that runs to train them.
    **changes
        Fields of the bank that differ, such as ``make_model``, or ``x`` and ``population_x`` turned into features.

    Raises
    ------
    ValueError
        If the bank is a selection: its masks would not name their files.
    """
    if not (bank.rows == np.arange(len(bank))).all():
        raise ValueError(
            f"this bank holds models {bank.rows.tolist()}; make siblings of a whole bank, or its first few"
        )
    key = cache.digest(bank.key, list(bank.queries), made, list(code))[:32]
    return replace(
        bank,
        **changes,
        name=name,
        key=key,
        folder=cache.directory() / "shadows" / key,
        asked=tuple(range(len(bank.queries))),
        _signals={},
        _unkept={},
    )


def pool_of(dataset: Dataset, pool: int, seed: int) -> torch.Tensor:
    """Return the positions, among the train records, of a pool's records, ascending: the pool keeps their order.

    Those left are the attacker's reserve: see `reserve_of`.
    """
    return _drawn(dataset, seed)[: pool // 2 * 2].sort().values


def reserve_of(dataset: Dataset, pool: int, seed: int) -> torch.Tensor:
    """Return the positions of the train records outside the pool, ascending."""
    return _drawn(dataset, seed)[pool // 2 * 2 :].sort().values


def _drawn(dataset: Dataset, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([seed, 2**31]).permutation(len(dataset.train_y)))


def _key(
    dataset: Dataset,
    make_model: Callable[[], nn.Module] | None,
    recipe: Recipe | None,
    pool: int,
    population: int,
    asked: tuple[str, ...],
    seed: int,
    dtype: str,
    own_way: list[Any] | None = None,
) -> str:
    """Content hash of a bank; the number of models is no part of it, so that banks can grow."""
    settings = [dataset.digest, recipe, pool, population, list(asked), seed, dtype]
    if own_way is not None:
        return cache.digest(settings, own_way, [ask])[:32]
    return cache.digest(settings, *model_identity(make_model), list(CODE))[:32]


def _by_recipe(
    bank: ShadowBank, strategy: str, workers: int | None
) -> Callable[[list[int]], Iterator[tuple[int, State]]]:
    """Return the trainer of a bank whose models follow its recipe."""

    def train(missing: list[int]) -> Iterator[tuple[int, State]]:
        trained = many.train_many(
            bank.make_model,
            bank.x,
            bank.y,
            bank.masks[missing],
            bank.recipe,
            seeds=[1_000_003 * bank.seed + k for k in missing],
            strategy=strategy,
            workers=workers,
        )
        return ((missing[row], state) for row, state in trained)

    return train


def _by_own(
    bank: ShadowBank, workers: int | None
) -> Callable[[list[int]], Iterator[tuple[int, torch.Tensor]]]:
    """Return the trainer of a bank whose models the caller's own function trains."""

    def train(missing: list[int]) -> Iterator[tuple[int, torch.Tensor]]:
        trained = own.train_each(
            bank.train,
            bank.x,
            bank.y,
            bank.masks[missing],
            seeds=[(1_000_003 * bank.seed + k) % 2**32 for k in missing],
            classes=len(bank.classes),
            workers=workers,
        )
        return ((missing[row], content) for row, content in trained)

    return train
