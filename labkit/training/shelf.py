"""Trained models on disk: what their keys must cover, and how what is missing is trained, kept and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labkit import cache
from labkit.training import recipe as recipes
from labkit.training.recipe import one_cycle

# What a trained model depends on: it dies with a change to these, not to a docstring elsewhere.
CODE = (recipes.train_one, recipes.batches, recipes.augment, recipes.optimizer_of, one_cycle)


def model_identity(make_model: Callable[[], nn.Module]) -> tuple[str, dict]:
    """Structure and seeded weights: unlike source text, they see through partials and closures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make_model()
    return repr(model), dict(model.state_dict())


def save_array(path: Path, array: np.ndarray) -> None:
    with cache.atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array)
