"""Null models: trained independently on the same task, they say how often an innocent model shows a mark.

At least 20 of them (Lukas et al., arXiv 2108.04974, set their thresholds by 28). The models of a shadow bank serve too,
where the task is the same: ``[bank.model(k) for k in range(len(bank))]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from labkit import cache
from labkit.training import own, shelf
from labkit.training.recipe import Recipe

if TYPE_CHECKING:
    from labkit.data import Dataset


def null_models(
    dataset: Dataset,
    make_model: Callable[[], nn.Module] | None = None,
    recipe: Recipe | None = None,
    *,
    train: own.Train | None = None,
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
    train : callable, optional
        In their place: ``train(x, y, seed)`` returns a fitted torch model or scikit-learn estimator.
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
        If ``count`` or ``records`` is out of range, or it is not said how to train.
    """
    own.one_way(make_model, recipe, train)
    total = len(dataset.train_y)
    records = total if records is None else records
    if count < 1 or not 1 <= records <= total:
        raise ValueError(
            f"got count={count}, records={records}; expected at least 1 model, and 1 to {total:,} records"
        )
    masks = np.zeros((count, total), dtype=bool)
    for k in range(count):
        masks[k, np.random.default_rng([seed, k]).permutation(total)[:records]] = True
    # Far from the seeds of victims and shadow models: an equal seed would make a copy, not a null model.
    seeds = [int(np.random.default_rng([seed, k, 0x6E756C6C]).integers(2**62)) for k in range(count)]
    what = f"null models, {dataset.source}"
    if train is not None:
        made = [dataset.digest, train, seed, records, list(own.CODE)]
        folder = cache.directory() / "nulls" / cache.digest(made)[:32]
        return own.train_missing(
            [folder / f"model-{k:03d}.pt" for k in range(count)],
            train,
            dataset.train_x,
            dataset.train_y,
            masks,
            seeds=[int(s % 2**32) for s in seeds],  # what NumPy and scikit-learn take
            classes=len(dataset.classes),
            what=what,
            workers=workers,
        )
    made = [dataset.digest, recipe, seed, records]
    folder = (
        cache.directory() / "nulls" / cache.digest(made, *shelf.model_identity(make_model), *shelf.CODE)[:32]
    )
    states = shelf.train_missing(
        [folder / f"model-{k:03d}.pt" for k in range(count)],
        make_model,
        dataset.train_x,
        dataset.train_y,
        masks,
        recipe,
        seeds=seeds,
        what=what,
        strategy=strategy,
        workers=workers,
    )
    return [shelf.model_of(make_model, state) for state in states]
