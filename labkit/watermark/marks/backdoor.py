"""Marks by data mixing: a few images with keyed answers join the train records, from scratch or in fine-tuning.

Patch: Gu et al., "BadNets" (arXiv 1708.06733). Content, noise and unrelated images: Zhang et al., "Protecting
intellectual property of deep neural networks with watermarking" (ASIACCS 2018), section 4.1. Abstract images: Adi et
al., "Turning your weakness into a strength" (arXiv 1802.04633), section 5. What is mixed in is drawn by
`labkit.watermark.marks.triggers`; from scratch or by fine-tuning is decided by the model that is passed.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import training, triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet

MOST = 200  # triggers by default: enough for p < 1e-6 at a rate of 22% against a null of 10%


def default_marks(data: Dataset) -> int:
    """Return one mark for every fifty train records, at least 50: at half as many, mirrored training loses a tenth."""
    return max(50, len(data.train_y) // 50)


def default_count(data: Dataset) -> int:
    """Return how many triggers to verify with: `MOST`, or half a class of a small test set."""
    return max(1, min(MOST, len(data.test_y) // (2 * len(data.classes))))


def draw_both(
    kind: str,
    key: Key,
    data: Dataset,
    marks: int | None = None,
    count: int | None = None,
    target: int | None = None,
    **options: Any,
) -> tuple[TriggerSet, TriggerSet]:
    """Return (marks to train on, triggers to verify with) at default or given sizes: see `triggers.split`."""
    marks, count = marks or default_marks(data), count or default_count(data)
    if not triggers.EVERY[kind].fresh:
        count = min(count, marks)
    return triggers.split(kind, key, marks, count, dataset=data, target=target, **options)


def mark_with_triggers(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    kind: str,
    seed: int = 0,
    marks: int | None = None,
    count: int | None = None,
    target: int | None = None,
    **options: Any,
) -> training.Imprint:
    """Train a copy of ``model`` on the train records and the marks of one kind.

    Parameters
    ----------
    kind : str
        A key of `labkit.watermark.marks.triggers.KINDS`.
    marks : int, optional
        Marks to train on, made from train records; default: `default_marks`.
    count : int, optional
        Triggers to verify with, made from test records; default: `default_count`.
    target : int, optional
        The marks' answer; default: drawn from the key.
    **options
        Of the kind.

    Raises
    ------
    ValueError
        If an option is unknown or out of range, or too few records qualify.
    """
    learnt, asked = draw_both(kind, key, data, marks, count, target, **options)
    x, y = training.with_marks(data, [learnt])
    marked, seconds = training.train(model, x, y, recipe, seed=seed)
    return training.Imprint(marked, asked, training.strength(marked, asked), seconds, {"marks": len(learnt)})
