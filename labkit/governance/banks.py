"""What an attacker of a review works on: as many records that trained the model as did not, and shadow models' answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from labkit import cache, profiles
from labkit.governance.findings import ReviewError
from labkit.membership.shadows.bank import ShadowBank

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.governance.project import Project

LEAST = 20  # members and non-members: fewer support no figure


def positions_of(project: Project) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a balanced pool: positions (among train, then test records), who is a member, and the population's positions.

    Members and non-members are as many, drawn by the project's seed: train records that the model was trained on, and
    train records that it was not trained on, or else half of the test records; the other half is the population, which
    an attacker may use.

    Raises
    ------
    ReviewError
        If there are fewer than `LEAST` on a side.
    """
    rng = np.random.default_rng([project.seed, 2**20])
    train, total = len(project.dataset.train_y), len(project.dataset.test_y)
    test = train + rng.permutation(total)
    spared = rng.permutation(np.flatnonzero(~project.trained_on))
    outside, population = (spared, test) if len(spared) >= LEAST else (test[: total // 2], test[total // 2 :])
    inside = rng.permutation(np.flatnonzero(project.trained_on))
    most = profiles.current().pick(smoke=500, laptop=5000, full=len(inside))
    count = min(most, len(inside), len(outside))
    if count < LEAST or len(population) < LEAST:
        raise ReviewError(
            f"{len(inside)} records that the model was trained on, {len(outside)} that it was not and {len(population)} "
            f"others; expected at least {LEAST} of each, so that an attack can be scored"
        )
    pool = np.sort(np.concatenate([inside[:count], outside[:count]]))
    return pool, np.isin(pool, inside[:count]), np.sort(population)


def pool_dataset(project: Project) -> tuple[Dataset, np.ndarray]:
    """Return the pool as the train set of a data set whose test set is the population, and who is a member."""
    pool, members, population = positions_of(project)
    x, y = _everything(project.dataset)
    made = replace(
        project.dataset,
        name=f"{project.dataset.name}, pool of the review",
        train_x=x[pool],
        train_y=y[pool],
        test_x=x[population],
        test_y=y[population],
        digest="",
    )
    return made, members


def asking_bank(project: Project) -> tuple[ShadowBank, np.ndarray]:
    """Return the pool and the population as a bank without shadow models, for attacks that need none, and who is a member."""
    pool, members, population = positions_of(project)
    x, y = _everything(project.dataset)
    bank = ShadowBank(
        name=f"{project.dataset.name}, pool of the review",
        source=project.dataset.source,
        profile=profiles.current().name,
        classes=project.dataset.classes,
        x=x[pool],
        y=y[pool],
        population_x=x[population],
        population_y=y[population],
        masks=np.zeros((0, len(pool)), dtype=bool),
        partners=np.zeros(0, dtype=int),
        queries=("plain",),
        recipe=None,
        make_model=None,
        folder=Path(),
        key=cache.digest(project.dataset.digest, pool, population),
        rows=np.zeros(0, dtype=int),
        asked=(0,),
        train_records=len(pool),
    )
    return bank, members


def _everything(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([dataset.train_x, dataset.test_x]), torch.cat([dataset.train_y, dataset.test_y])
