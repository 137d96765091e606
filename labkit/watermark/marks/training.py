"""How every scheme trains: the kit's own steps on records and marks, plus a scheme's extra loss, kept by content.

With no extra loss it does what `labkit.training.recipe.train_one` does, bit for bit (a test compares them), so a marked model
differs from an unmarked one by its marks alone.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from labkit import cache, profiles, progress, stats, training
from labkit.training import recipe as recipes
from labkit.training import shelf
from labkit.training.recipe import Recipe, State

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.stats import Interval
    from labkit.watermark.marks.marked import TriggerSet


class ExtraLoss(Protocol):
    """A dataclass that is called with the model in training and the step's number; what it returns joins the loss.

    Its fields belong to the cache key, so it holds plain values and tensors only.
    """

    def __call__(self, model: nn.Module, step: int) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Imprint:
    """What a scheme's function returns to `labkit.watermark.marks.embed`; the attributes are those of `MarkedModel`."""

    model: nn.Module
    triggers: TriggerSet | None
    strength: Interval
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


def train(
    model: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, *, seed: int = 0, extra: ExtraLoss | None = None
) -> tuple[nn.Module, float]:
    """Train a copy of ``model`` and return it, ready to be asked, with the seconds that this took when it was made.

    Parameters
    ----------
    model : nn.Module
        Untrained for a mark from scratch, trained for a mark by fine-tuning; left as it is.
    x : float Tensor of shape (n, ...)
    y : Tensor of shape (n,), int64, or (n, classes), float
        Labels, or soft labels that sum to one.
    seed : int
        Fixes the order of the records and the augmentation.
    extra : ExtraLoss, optional

    Raises
    ------
    ValueError
        If shapes do not fit, or an input is NaN or infinite.
    FloatingPointError
        If the loss becomes NaN or infinite.

    Notes
    -----
    Kept in the cache by content: weights, records, recipe, seed, extra loss and the code of both.
    """
    if len(x) != len(y) or len(x) == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError(
            f"got {len(x)} inputs and {len(y)} labels; expected as many of each, at least one, no NaN or infinity"
        )
    settings = {
        "model": identity(model),
        "x": x,
        "y": y,
        "recipe": recipe,
        "seed": seed,
        "extra": extra,
    }
    code = [train] if extra is None else [train, type(extra)]
    state, seconds = cache.cached(
        "marked", settings, lambda: _run(model, x, y, recipe, seed, extra), code=code
    )
    trained = copy.deepcopy(model)
    trained.load_state_dict(state)
    return trained.to(profiles.device()).eval(), seconds


def identity(model: nn.Module) -> list[Any]:
    """Return what tells a trained model from another, for cache keys: structure, weights, and the code of its classes."""
    return list(shelf.model_identity(lambda: copy.deepcopy(model)))


def _run(
    model: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, seed: int, extra: ExtraLoss | None
) -> tuple[State, float]:
    start, device = time.perf_counter(), profiles.device()
    layout = recipes.layout_of(x)
    model = copy.deepcopy(model).to(device, memory_format=layout)
    x, y = x.to(device).contiguous(memory_format=layout), y.to(device)
    steps, epoch = recipes.steps_of(len(x), recipe), 0
    total = torch.zeros((), device=device)
    with progress.bar(steps, "training on the records") as shown:
        for now, loss in recipes.descend(model, x, y, recipe, seed=seed, extra=extra):
            if now > epoch:  # once an epoch: a look at the loss waits for the device
                _check_loss(float(total), epoch, recipe)
                epoch = now
            total += loss
            shown.update()
    _check_loss(float(total), epoch, recipe)
    return recipes.state_of(model), time.perf_counter() - start


def _check_loss(total: float, epoch: int, recipe: Recipe) -> None:
    if not math.isfinite(total):
        raise FloatingPointError(
            f"the loss became {total} in epoch {epoch + 1}: lower learning_rate={recipe.learning_rate}"
        )


def filling(records: int, marks: int, recipe: Recipe) -> int:
    """Return ``marks`` or a few more, so that records and marks together fill whole batches.

    A short last batch weighs as much in training as a whole one. One of two records cost a network with BatchNorm three
    points of accuracy here, which would be put down to the mark.

    Examples
    --------
    >>> filling(20_000, 1250, Recipe(epochs=1, batch_size=128))
    1376
    """
    return marks + -(records + marks) % recipe.batch_size


def with_marks(data: Dataset, marks: Sequence[TriggerSet]) -> tuple[Tensor, Tensor]:
    """Return the train records followed by the marks: inputs (n + marks, C, H, W) and labels."""
    return (
        torch.cat([data.train_x, *(mark.x for mark in marks)]),
        torch.cat([data.train_y, *(mark.y for mark in marks)]),
    )


def strength(model: nn.Module, triggers: TriggerSet) -> Interval:
    """Return the share of triggers that the model answers as marked, with its Clopper-Pearson interval."""
    hits = int((training.logits(model, triggers.x).argmax(1) == triggers.y.cpu()).sum())
    return stats.clopper_pearson(hits, len(triggers))
