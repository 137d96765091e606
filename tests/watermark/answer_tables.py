"""Models for tests of statistics: tables of answers drawn at random, thousands in a second, nothing trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from labkit.data import Dataset

CLASSES = 10


def table_data(m: int, rng: np.random.Generator) -> Dataset:
    """Return a data set whose test record i is the number i."""
    y = torch.from_numpy(rng.integers(0, CLASSES, m))
    x = torch.arange(m, dtype=torch.float32)[:, None]
    return Dataset("numbers", "numbers", False, x, y, x, y, tuple("abcdefghij"), digest="numbers")


def tables(data: Dataset, count: int, rng: np.random.Generator, skill: float = 0.2) -> np.ndarray:
    """Return answers (count, m) of independent models: the same records are hard for all, and draw the same mistake.

    ``skill`` is the spread between models.
    """
    y = data.test_y.numpy()
    m, rows = len(y), np.arange(len(y))
    hardness, tempting = rng.normal(1.5, 1.5, m), (y + rng.integers(1, CLASSES, m)) % CLASSES
    scores = rng.normal(size=(count, m, CLASSES))
    scores[:, rows, y] += hardness + rng.normal(0, skill, count)[:, None]
    scores[:, rows, tempting] += 1
    return scores.argmax(2)


def copied(answers: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return answers of a copy that guesses anew on ``share`` of the records."""
    return np.where(rng.random(len(answers)) < share, rng.integers(0, CLASSES, len(answers)), answers)


def talk(answers: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Return a suspect that looks its answers up."""
    return lambda x: torch.from_numpy(answers)[x[:, 0].long()]
