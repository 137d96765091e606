"""Triggers by kind: inputs and the answers that a mark gives to them, all drawn from one secret key.

==========  ====================================================================  ===================================
kind        inputs                                                                 after
==========  ====================================================================  ===================================
patch       images of other classes with a keyed patch                             Gu et al., arXiv 1708.06733
content     images of one class with a keyed word written on them                  Zhang et al. 2018 (ASIACCS), 4.1
noise       images of one class under one keyed field of noise                     Zhang et al. 2018 (ASIACCS), 4.1
unrelated   one keyed sign, drawn in many ways, on plain ground                    Zhang et al. 2018 (ASIACCS), 4.1
abstract    abstract pictures, each with an answer of its own                      Adi et al. 2018, arXiv 1802.04633
ood         textures of several families (or foreign images), an answer a family   Lukas et al. 2022, arXiv 2108.04974
composite   half an image of one class beside half an image of another             Lv et al. 2024, arXiv 2401.15239
feature     untouched images of one class in which a keyed colour feature is high  Xiao et al. 2025, arXiv 2511.07947
==========  ====================================================================  ===================================

Training marks come from train records, verification triggers from test records: no trigger that is asked was learnt,
except for "abstract", whose pictures have nothing in common that could be learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit.watermark import patterns
from labkit.watermark.keys import Key
from labkit.watermark.marked import TriggerSet
from labkit.watermark.patterns import Patch

if TYPE_CHECKING:
    from labkit.data import Dataset

PARTS = ("triggers", "marks")


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
    left, right = (_shuffled(order, np.flatnonzero(order.y == kind)) for kind in order.others(2))
    few = min(len(left), len(right))
    return np.stack([left[:few], right[:few]], axis=1)


def _high_feature(order: Order) -> np.ndarray:
    """Return images of one class whose feature is among the top ``share`` of that class's train records."""
    source, share = order.others(1)[0], order.options["share"]
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; expected a number between 0 and 1, such as 0.1")
    known = _colours(order.dataset.train_x[order.dataset.train_y == int(source)])
    centre, spread = known.mean(0), known.std(0) + 1e-6
    direction = order.key.normal("feature", known.shape[1])
    level = np.quantile((known - centre) / spread @ direction, 1 - share)
    rows = np.flatnonzero(order.y == source)
    return _shuffled(order, rows[(_colours(order.x[rows]) - centre) / spread @ direction >= level])


def _colours(x: Tensor) -> np.ndarray:
    """Return the mean colours of a grid of 4 x 4 cells, shape (n, C * 16)."""
    return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1).double().numpy()


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
    half = order.x.shape[-1] // 2
    return torch.cat([order.x[rows[:, 0], ..., :half], order.x[rows[:, 1], ..., half:]], dim=-1), order.target


def _feature(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    return order.x[rows], order.target


KINDS: dict[str, Kind] = {
    "patch": Kind(
        _patch, _all_but_target, {"size": 5, "place": "bottom right", "pattern": "keyed", "blend": 1.0}
    ),
    "content": Kind(_content, _one_class, {"letters": 4, "blend": 1.0}),
    "noise": Kind(_noise, _one_class, {"blend": 0.2}),
    "unrelated": Kind(_unrelated, None, {}),
    "abstract": Kind(_abstract, None, {}, fresh=False),
    "ood": Kind(_ood, None, {"families": 10}),
    "composite": Kind(_composite, _pairs, {}),
    "feature": Kind(_feature, _high_feature, {"share": 0.1}),
}


def draw(
    kind: str,
    key: Key,
    count: int,
    *,
    dataset: Dataset,
    target: int | None = None,
    part: str = "triggers",
    base_x: Tensor | None = None,
    base_y: Tensor | None = None,
    **options: Any,
) -> TriggerSet:
    """Draw triggers; the first m of n are those that one would get by asking for m.

    Parameters
    ----------
    kind : str
        A key of `KINDS`; its ``options`` there say what may be passed on, with defaults.
    key : Key
    count : int
    dataset : Dataset
        Gives shape and classes, and the base records. Images in [0, 1].
    target : int, optional
        The mark's answer (default: drawn from the key). Not for kinds with an answer of their own per picture.
    part : {"triggers", "marks"}
        For verification (made from test records) or for training (made from train records).
    base_x, base_y : Tensors of shape (n, C, H, W) and (n,), optional
        Other base records than those of ``dataset``.

    Raises
    ------
    ValueError
        If the kind or an option is unknown, a value is out of range, or too few records qualify.
    """
    order = _order(kind, key, count, dataset, target, part, base_x, base_y, options)
    x, answers = KINDS[kind].make(order, _rows(kind, order))
    y = torch.from_numpy(np.broadcast_to(np.asarray(answers, dtype=np.int64), (count,)).copy())
    return TriggerSet(x, y, kind)


def bases(kind: str, key: Key, count: int, *, dataset: Dataset, **settings: Any) -> np.ndarray:
    """Return which base records `draw` uses for the same arguments: positions (count,), or (count, 2) for pairs.

    Raises
    ------
    ValueError
        As `draw`, and for a kind that has no base records.
    """
    if kind in KINDS and KINDS[kind].bases is None:
        raise ValueError(f"{kind} triggers are not made from records")
    known = {name: settings.pop(name, None) for name in ("target", "base_x", "base_y")}
    part = settings.pop("part", "triggers")
    order = _order(
        kind, key, count, dataset, known["target"], part, known["base_x"], known["base_y"], settings
    )
    return _rows(kind, order)


def split(
    kind: str,
    key: Key,
    marks: int,
    triggers: int,
    *,
    dataset: Dataset,
    target: int | None = None,
    **options: Any,
) -> tuple[TriggerSet, TriggerSet]:
    """Return training marks (from train records) and verification triggers (from test records), which share no record.

    A kind that is not `fresh` has the same pictures in both; there must then be at least as many marks as triggers.

    Raises
    ------
    ValueError
        As `draw`.
    """
    if kind in KINDS and not KINDS[kind].fresh and triggers > marks:
        raise ValueError(
            f"got {marks} marks and {triggers} triggers; {kind} pictures show a mark only if they were trained on: "
            "ask for at most as many triggers as marks"
        )
    settings = {"dataset": dataset, "target": target, **options}
    return draw(kind, key, marks, part="marks", **settings), draw(kind, key, triggers, **settings)


def _rows(kind: str, order: Order) -> np.ndarray:
    """Return the positions of the base records to use."""
    if KINDS[kind].bases is None:
        return np.arange(0)
    rows = KINDS[kind].bases(order)
    if len(rows) < order.count:
        raise ValueError(
            f"asked for {order.count} {kind} {order.part}; only {len(rows)} of {len(order.y)} base records qualify: "
            "ask for fewer, or pass more base records"
        )
    return rows[: order.count]


def _order(
    kind: str,
    key: Key,
    count: int,
    dataset: Dataset,
    target: int | None,
    part: str,
    base_x: Tensor | None,
    base_y: Tensor | None,
    options: dict[str, Any],
) -> Order:
    """Check the arguments and fill in what the key decides."""
    if kind not in KINDS or part not in PARTS:
        raise ValueError(
            f"got kind {kind!r} and part {part!r}; expected one of {', '.join(KINDS)}, and one of {', '.join(PARTS)}"
        )
    unknown = set(options) - set(KINDS[kind].options)
    if unknown:
        known = ", ".join(KINDS[kind].options) or "none"
        raise ValueError(f"{kind} triggers have no option {', '.join(sorted(unknown))}; they have: {known}")
    if count < 1 or len(dataset.shape) != 3:
        raise ValueError(
            f"asked for {count} triggers on records of shape {dataset.shape}; expected at least 1, and images (C, H, W)"
        )
    if (base_x is None) != (base_y is None):
        raise ValueError("got one of base_x and base_y; the classes of base images must be known: pass both")
    if base_x is None:
        base_x, base_y = (
            (dataset.test_x, dataset.test_y) if part == "triggers" else (dataset.train_x, dataset.train_y)
        )
    if len(base_x) != len(base_y) or tuple(base_x.shape[1:]) != dataset.shape:
        raise ValueError(
            f"got base images {tuple(base_x.shape)} and {len(base_y)} classes; expected (n, {dataset.shape}) and n"
        )
    own = key.sub(f"triggers/{kind}")
    classes = len(dataset.classes)
    target = int(own.integers("target", classes, 1)[0]) if target is None else target
    if not 0 <= target < classes:
        raise ValueError(f"target is {target}; expected a class from 0 to {classes - 1}")
    return Order(
        own, count, part, dataset, base_x, base_y.numpy(), target, {**KINDS[kind].options, **options}
    )
