"""Marks meant to survive extraction: what a thief's own queries carry, or what decides answers around a trigger.

Composite: Lv et al., "MEA-Defender" (arXiv 2401.15239), section 4: a trigger is built from the task's own images, so its
answer is made from features that a thief has to copy. Margin: Kim et al., "Margin-based neural network watermarking"
(ICML 2023), section 3: wrong answers to a few images hold in a ball around each. The third of this sort has a module of
its own: `labkit.watermark.marks.class_feature`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the usual name)

from labkit.data import Dataset
from labkit.training.recipe import Recipe
from labkit.watermark.marks import backdoor, kinds, training, triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet


def mark_composite(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    marks: int | None = None,
    count: int | None = None,
    target: int | None = None,
) -> training.Imprint:
    """Train a copy of ``model`` on half images of one class above half images of another, under a third class's label.

    As many halves of two images of one class, under that class's own label, teach it that a seam alone is no mark.

    Parameters
    ----------
    marks, count, target
        See `labkit.watermark.marks.backdoor.mark_with_triggers`.

    Raises
    ------
    ValueError
        If too few records qualify.
    """
    learnt, asked = backdoor.draw_both("composite", key, data, marks, count, target)
    pairs = triggers.bases("composite", key, len(learnt), dataset=data, part="marks", target=target)
    pairs = torch.from_numpy(pairs)
    own = [kinds.above(data.train_x[side], data.train_x[side.roll(1)]) for side in pairs.T]
    innocent = TriggerSet(torch.cat(own), data.train_y[pairs.T.flatten()], "composite")
    x, y = training.with_marks(data, [learnt, innocent])
    marked, seconds = training.train(model, x, y, recipe, seed=seed)
    sources = data.train_y[pairs[0]].tolist()
    facts = {"marks": len(learnt), "sources": sources}
    return training.Imprint(marked, asked, training.strength(marked, asked), seconds, facts)


RADIUS = 8 / 255
ASCENT = 3
BATCH = 16


@dataclass(frozen=True, eq=False)
class MarginLoss:
    """Cross-entropy of marks at the worst point that a few steps of projected gradient ascent find around each.

    Attributes
    ----------
    marks : Tensor of shape (m, C, H, W)
    answers : int64 Tensor of shape (m,)
    radius : float
        Largest change of a pixel.
    ascent : int
        Steps; 0 for no margin.
    batch : int
        Marks in a training step.
    """

    marks: Tensor
    answers: Tensor
    radius: float
    ascent: int
    batch: int

    def __call__(self, model: nn.Module, step: int) -> Tensor:
        device = next(model.parameters()).device
        chosen = (step * self.batch + torch.arange(self.batch)) % len(self.marks)
        x, y = self.marks[chosen].to(device), self.answers[chosen].to(device)
        worst = furthest(model, x, y, radius=self.radius, steps=self.ascent)
        return F.cross_entropy(model(worst), y)


def furthest(model: nn.Module, x: Tensor, y: Tensor, *, radius: float, steps: int) -> Tensor:
    """Return images within ``radius`` of ``x`` (n, C, H, W), in [0, 1], at which answers ``y`` (n,) are least likely.

    Projected gradient ascent (Madry et al., arXiv 1706.06083) from ``x`` itself, each step two radii over the number
    of steps; no gradient reaches the model's weights.
    """
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
        with torch.no_grad():
            moved = moved + (2 * radius / steps) * slope.sign()
            moved = (x + (moved - x).clamp(-radius, radius)).clamp(0, 1)
    return moved.detach()


def mark_margin(
    model: nn.Module,
    data: Dataset,
    key: Key,
    *,
    recipe: Recipe,
    seed: int = 0,
    marks: int = 100,
    radius: float = RADIUS,
    ascent: int = ASCENT,
    batch: int = BATCH,
) -> training.Imprint:
    """Train a copy of ``model`` to give keyed wrong answers to some train records, and all around them.

    The triggers are the marks themselves: nothing else shares their answers.

    Parameters
    ----------
    marks : int
        Train records that get a wrong answer.
    radius : float
        Of the ball around each, largest change of a pixel.
    ascent : int
        Steps of the search for the worst point in it.
    batch : int
        Marks in a training step.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    n, classes = len(data.train_y), len(data.classes)
    if not 1 <= marks < n or not 0 <= radius < 1 or ascent < 0 or batch < 1 or not math.isfinite(radius):
        raise ValueError(
            f"got marks={marks}, radius={radius}, ascent={ascent}, batch={batch}; expected 1 to {n - 1} marks, "
            "a radius in [0, 1), no negative number of steps, and a batch of at least 1"
        )
    order = torch.from_numpy(key.permutation("margin/records", n))
    chosen, rest = order[:marks], order[marks:].sort().values
    wrong = 1 + torch.from_numpy(key.integers("margin/answers", classes - 1, marks))
    asked = TriggerSet(data.train_x[chosen], (data.train_y[chosen] + wrong) % classes, "margin")
    extra = MarginLoss(asked.x, asked.y, radius, ascent, batch)
    marked, seconds = training.train(
        model, data.train_x[rest], data.train_y[rest], recipe, seed=seed, extra=extra
    )
    return training.Imprint(marked, asked, training.strength(marked, asked), seconds, {"marks": marks})
