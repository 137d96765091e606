"""Make a bank whole: train the models that it lacks, ask them, and keep what they answer, model by model."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labkit import cache, progress
from labkit.membership.shadows.bank import ShadowBank, ask
from labkit.training.recipe import State
from labkit.training.shelf import save_array


def complete(bank: ShadowBank, train: Callable[[list[int]], Iterator[tuple[int, State]]]) -> float:
    """Train what is missing and return the seconds that this call took over it.

    Parameters
    ----------
    train : callable
        Takes the numbers of the missing models and yields (number, weights), in any order.
    """
    missing = [k for k in range(len(bank)) if not bank._has_weights(k)]
    if not missing:
        return 0.0
    start = time.perf_counter()
    _describe(bank)
    with progress.bar(len(bank), f"{bank.name}, {bank.source}", initial=len(bank) - len(missing)) as shown:
        for k, state in train(missing):
            _keep(bank, k, state)
            shown.update()
    return time.perf_counter() - start


def _keep(bank: ShadowBank, k: int, state: State) -> None:
    """Write one model's outputs, then its weights: the weights' file says that all is there."""
    model = bank.make_model()
    model.load_state_dict(state)
    made: dict[str, Any] = {
        f"{part}-{k:03d}.npy": ask(model, x, bank.queries, bank.dtype)
        for part, x in (("pool", bank.x), ("population", bank.population_x))
    }
    made[f"model-{k:03d}.pt"] = state
    keep(made, bank.folder, bank._unkept, f"{bank.name}, model {k}")


def keep(made: dict[str, Any], folder: Path, memory: dict[str, Any], what: str) -> None:
    """Write each of ``made`` to a file of its name, in order; where that fails, put all in ``memory`` and say so.

    Warns
    -----
    CacheWarning
        If the folder cannot be written or the disk is full: the work is done, so it is used all the same.
    """
    try:
        for file, value in made.items():
            write(value, folder / file)
    except OSError as error:
        memory.update(made)
        warnings.warn(f"{what} is kept in memory only: {error}", cache.CacheWarning, stacklevel=3)


def write(value: Any, path: Path) -> None:
    """Write an array (``.npy``) or weights, atomically.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full.
    """
    if path.suffix == ".npy":
        save_array(path, value)
        return
    with cache.atomic_path(path) as temporary:
        cache.save(value, temporary)


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
    with contextlib.suppress(OSError), cache.atomic_path(bank.folder / "bank.json") as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
