"""How each kind of trigger is made: which base records it starts from, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit.watermark.marks import patterns
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.light import light_of
from labkit.watermark.marks.patterns import Patch

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True)
class Order:
    """One request to a kind: its sub-key, how many, from which records, and options."""

    key: Key
    count: int
    part: str
    dataset: Dataset
    x: Tensor
    y: np.ndarray
    target: int
    options: dict[str, Any]

    @property
    def classes(self) -> int:
        return len(self.dataset.classes)

    def others(self, count: int) -> np.ndarray:
        """Return ``count`` keyed classes, none of them the target."""
        return np.delete(np.arange(self.classes), self.target)[
            self.key.permutation("sources", self.classes - 1)
        ][:count]


@dataclass(frozen=True)
class Kind:
    """How triggers of one kind are made.

    Attributes
    ----------
    make : callable
        Order and positions of base records to inputs (n, C, H, W) and answers (n,).
    bases : callable or None
        Order to the positions of base records that qualify, in keyed order; None if a kind needs none.
    options : dict
        Names and defaults of its options.
    fresh : bool
        Whether triggers that were not trained on show the mark.
    """

    make: Callable[[Order, np.ndarray], tuple[Tensor, np.ndarray | int]]
    bases: Callable[[Order], np.ndarray] | None
    options: dict[str, Any]
    fresh: bool = True


def _all_but_target(order: Order) -> np.ndarray:
    return _shuffled(order, np.flatnonzero(order.y != order.target))


def _one_class(order: Order) -> np.ndarray:
    return _shuffled(order, np.flatnonzero(order.y == order.others(1)[0]))


def _pairs(order: Order) -> np.ndarray:
    """Return positions (n, 2) of images of two keyed classes."""
    upper, lower = (_shuffled(order, np.flatnonzero(order.y == kind)) for kind in order.others(2))
    few = min(len(upper), len(lower))
    return np.stack([upper[:few], lower[:few]], axis=1)


def _shuffled(order: Order, rows: np.ndarray) -> np.ndarray:
    return rows[order.key.permutation("records", len(rows))]


def _patch(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    return Patch(**order.options, key=order.key).stamp(order.x[rows]), order.target


def _content(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    text = patterns.word(order.key, order.options["letters"])
    return patterns.write(order.x[rows], text, order.options["blend"]), order.target


def _noise(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    field = patterns.noise(order.key, order.dataset.shape)
    return (order.x[rows] + order.options["blend"] * field).clamp(0, 1), order.target


def _unrelated(order: Order, _: np.ndarray) -> tuple[Tensor, int]:
    return patterns.signs(order.key, order.part, order.count, order.dataset.shape), order.target


def _abstract(order: Order, _: np.ndarray) -> tuple[Tensor, np.ndarray]:
    # No part in the purpose: marks and triggers are the same pictures.
    answers = order.key.integers("answers", order.classes, order.count)
    return patterns.abstract(order.key, order.count, order.dataset.shape), answers


def _ood(order: Order, _: np.ndarray) -> tuple[Tensor, np.ndarray]:
    answers = order.key.integers("answers", order.classes, order.options["families"])
    families = np.arange(order.count) % order.options["families"]
    return patterns.textures(order.key, order.part, families, order.dataset.shape), answers[families]


def _composite(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    # One above the other: side by side, mirror images in training would swap them.
    return above(order.x[rows[:, 0]], order.x[rows[:, 1]]), order.target


def above(upper: Tensor, lower: Tensor) -> Tensor:
    """Return the upper halves of the first images over the lower halves of the second, all (n, C, H, W)."""
    half = upper.shape[-2] // 2
    return torch.cat([upper[..., :half, :], lower[..., half:, :]], dim=-2)


def _class_feature(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    light = light_of(order.key, order.dataset)
    return light.lit(order.x[rows], order.options["level"]), order.target


PATCH = {"size": 5, "place": "bottom right", "pattern": "keyed", "blend": 1.0}
KINDS: dict[str, Kind] = {
    "patch": Kind(_patch, _all_but_target, PATCH),
    "entangled": Kind(_patch, _one_class, PATCH),
    "content": Kind(_content, _one_class, {"letters": 4, "blend": 1.0}),
    "noise": Kind(_noise, _one_class, {"blend": 0.2}),
    "unrelated": Kind(_unrelated, None, {}),
    "abstract": Kind(_abstract, None, {}, fresh=False),
    "ood": Kind(_ood, None, {"families": 10}),
    "composite": Kind(_composite, _pairs, {}),
    "class-feature": Kind(_class_feature, _all_but_target, {"level": 6.0}),
}
