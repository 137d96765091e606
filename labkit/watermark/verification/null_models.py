"""Null models: trained independently on the same task, they say how often an innocent model shows a mark.

At least 20 of them (Lukas et al., arXiv 2108.04974, set their thresholds by 28). The models of a shadow bank serve too,
where the task is the same: ``[bank.model(k) for k in range(len(bank))]``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from labkit import cache, progress
from labkit.training import many
from labkit.training import recipe as recipes
from labkit.training.recipe import Recipe, one_cycle
from labkit.training.shelf import model_identity

if TYPE_CHECKING:
    from labkit.data import Dataset

# What a trained model depends on: a change to one of these makes saved models stale.
CODE = (recipes.train_one, recipes.batches, recipes.augment, recipes.optimizer_of, one_cycle)


def null_models(
    dataset: Dataset,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    *,
    count: int = 20,
    seed: int = 0,
    records: int | None = None,
    strategy: str = "auto",
    workers: int | None = None,
) -> list[nn.Module]:
    """Train independent models, or load those that an earlier call saved.

    Parameters
    ----------
    dataset : Dataset
        Of train records that no mark was put on.
    make_model : callable
        Returns a fresh model.
    recipe : Recipe
    count : int
        The first m of n models are those that one would get by asking for m.
    seed : int
    records : int, optional
        Each model trains on its own random draw of so many train records (default: on all, so that models differ by
        initial weights and order alone).
    strategy, workers
        See `labkit.training.many.train_many`.

    Returns
    -------
    list of nn.Module
        In evaluation mode, on the CPU.

    Notes
    -----
    Interrupt at will: each model is written when it is done.

    Raises
    ------
    ValueError
        If ``count`` or ``records`` is out of range.
    """
    total = len(dataset.train_y)
    records = total if records is None else records
    if count < 1 or not 1 <= records <= total:
        raise ValueError(
            f"got count={count}, records={records}; expected at least 1 model, and 1 to {total:,} records"
        )
    key = cache.digest([dataset.digest, recipe, seed, records], *model_identity(make_model), list(CODE))[:32]
    folder = cache.directory() / "nulls" / key
    _complete(folder, dataset, make_model, recipe, count, seed, records, strategy, workers)
    return [_load(folder / _name(k), make_model) for k in range(count)]


def _name(k: int) -> str:
    return f"model-{k:03d}.pt"


def _load(path: Path, make_model: Callable[[], nn.Module]) -> nn.Module:
    model = make_model()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def _complete(
    folder: Path,
    dataset: Dataset,
    make_model: Callable[[], nn.Module],
    recipe: Recipe,
    count: int,
    seed: int,
    records: int,
    strategy: str,
    workers: int | None,
) -> None:
    """Train and write the models whose files are missing."""
    missing = [k for k in range(count) if not (folder / _name(k)).is_file()]
    if not missing:
        return
    masks = np.zeros((len(missing), len(dataset.train_y)), dtype=bool)
    for row, k in enumerate(missing):
        masks[row, np.random.default_rng([seed, k]).permutation(masks.shape[1])[:records]] = True
    trained = many.train_many(
        make_model,
        dataset.train_x,
        dataset.train_y,
        masks,
        recipe,
        # Far from the seeds of victims and shadow models: an equal seed would make a copy, not a null model.
        seeds=[int(np.random.default_rng([seed, k, 0x6E756C6C]).integers(2**62)) for k in missing],
        strategy=strategy,
        workers=workers,
    )
    with progress.bar(count, f"null models, {dataset.source}", initial=count - len(missing)) as shown:
        for row, state in trained:
            with cache.atomic_path(folder / _name(missing[row])) as path:
                torch.save(state, path)
            shown.update()
