"""Make a bank whole: train the models that it lacks, ask them, and keep what they answer, model by model."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from torch import Tensor

from labkit import cache, progress
from labkit.membership.shadows.bank import ShadowBank, ask
from labkit.training import own
from labkit.training.recipe import State
from labkit.training.shelf import keep


def complete(bank: ShadowBank, train: Callable[[list[int]], Iterator[tuple[int, Any]]]) -> float:
    """Train what is missing and return the seconds that this call took over it.

    Parameters
    ----------
    train : callable
        Takes the numbers of the missing models and yields (number, weights or packed model), in any order.
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


def _keep(bank: ShadowBank, k: int, state: State | Tensor) -> None:
    """Write one model's outputs, then its weights: the weights' file says that all is there."""
    if bank.train is None:
        model = bank.make_model()
        model.load_state_dict(state)
    else:
        model = own.unpacked(state)
    made: dict[str, Any] = {
        f"{part}-{k:03d}.npy": ask(model, x, bank.queries, bank.dtype)
        for part, x in (("pool", bank.x), ("population", bank.population_x))
    }
    made[f"model-{k:03d}.pt"] = state
    if not keep(made, bank.folder, f"{bank.name}, model {k}"):
        bank._unkept.update(made)


def _describe(bank: ShadowBank) -> None:
    """Leave a note for whoever opens the folder."""
    facts = {
        "name": bank.name,
        "source": bank.source,
        "recipe": "own training function" if bank.recipe is None else asdict(bank.recipe),
        "model": "of its own" if bank.make_model is None else repr(bank.make_model()),
        "pool": len(bank.y),
        "population": len(bank.population_y),
        "queries": list(bank.queries),
        "seed": bank.seed,
    }
    with contextlib.suppress(OSError), cache.atomic_path(bank.folder / "bank.json") as path:
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
