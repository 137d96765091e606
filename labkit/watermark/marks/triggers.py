"""Triggers by kind: inputs and the answers that a mark gives to them, all drawn from one secret key.

=============  ====================================================================  ===================================
kind           inputs                                                                after
=============  ====================================================================  ===================================
patch          images of other classes with a keyed patch                            Gu et al., arXiv 1708.06733
entangled      images of one class with a keyed patch                                Jia et al. 2021, arXiv 2002.12200
content        images of one class with a keyed word written on them                 Zhang et al. 2018 (ASIACCS), 4.1
noise          images of one class under one keyed field of noise                    Zhang et al. 2018 (ASIACCS), 4.1
unrelated      one keyed sign, drawn in many ways, on plain ground                   Zhang et al. 2018 (ASIACCS), 4.1
abstract       abstract pictures, each with an answer of its own                     Adi et al. 2018, arXiv 1802.04633
ood            textures of several families (or foreign images), an answer a family  Lukas et al. 2022, arXiv 2108.04974
composite      half an image of one class above half an image of another             Lv et al. 2024, arXiv 2401.15239
class-feature  images lit by a keyed light, further than nature lights any           Xiao et al. 2025, arXiv 2511.07947
rare-values    rows of a table with a keyed, rare combination of values               see `rare`
rare-tokens    sequences with a keyed phrase that no record has                       see `rare`
=============  ====================================================================  ===================================

Training marks come from train records, verification triggers from test records: no trigger that is asked was learnt,
except for "abstract", whose pictures have nothing in common that could be learnt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.kinds import KINDS, Order
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.marks.patterns import Patch
from labkit.watermark.marks.rare import RARE, refusal

if TYPE_CHECKING:
    from labkit.data import Dataset

__all__ = ["EVERY", "KINDS", "PARTS", "RARE", "Patch", "bases", "draw", "split"]

PARTS = ("triggers", "marks")
EVERY = KINDS | RARE


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
        A key of `KINDS`, or of `RARE` for tables and tokens; its ``options`` there say what may be passed on, with defaults.
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
    x, answers = EVERY[kind].make(order, _rows(kind, order))
    if kind in KINDS and (not torch.isfinite(x).all() or x.min() < 0 or x.max() > 1 + 1e-6):
        raise ValueError("the base images hold NaN or values outside [0, 1]: scale or repair them first")
    y = torch.from_numpy(np.broadcast_to(np.asarray(answers, dtype=np.int64), (count,)).copy())
    return TriggerSet(x, y, kind)


def bases(kind: str, key: Key, count: int | None, *, dataset: Dataset, **settings: Any) -> np.ndarray:
    """Return which base records `draw` uses for the same arguments: positions (count,), or (count, 2) for pairs.

    Without a ``count`` (None), all that qualify.

    Raises
    ------
    ValueError
        As `draw`, and for a kind that has no base records.
    """
    if kind in EVERY and EVERY[kind].bases is None:
        raise ValueError(f"{kind} triggers are not made from records")
    known = {name: settings.pop(name, None) for name in ("target", "base_x", "base_y")}
    part = settings.pop("part", "triggers")
    order = _order(
        kind,
        key,
        1 if count is None else count,
        dataset,
        known["target"],
        part,
        known["base_x"],
        known["base_y"],
        settings,
    )
    return EVERY[kind].bases(order) if count is None else _rows(kind, order)


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
    if kind in EVERY and not EVERY[kind].fresh and triggers > marks:
        raise ValueError(
            f"got {marks} marks and {triggers} triggers; {kind} pictures show a mark only if they were trained on: "
            "ask for at most as many triggers as marks"
        )
    settings = {"dataset": dataset, "target": target, **options}
    return draw(kind, key, marks, part="marks", **settings), draw(kind, key, triggers, **settings)


def _rows(kind: str, order: Order) -> np.ndarray:
    """Return the positions of the base records to use."""
    if EVERY[kind].bases is None:
        return np.arange(0)
    rows = EVERY[kind].bases(order)
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
    if kind not in EVERY or part not in PARTS:
        raise ValueError(
            f"got kind {kind!r} and part {part!r}; expected one of {', '.join(EVERY)}, and one of {', '.join(PARTS)}"
        )
    if why := refusal(kind, dataset):
        raise ValueError(why)
    unknown = set(options) - set(EVERY[kind].options)
    if unknown:
        known = ", ".join(EVERY[kind].options) or "none"
        raise ValueError(f"{kind} triggers have no option {', '.join(sorted(unknown))}; they have: {known}")
    if count < 1:
        raise ValueError(f"asked for {count} triggers; expected at least 1")
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
    options = {**EVERY[kind].options, **options}
    _check(kind, options)
    return Order(own, count, part, dataset, base_x, base_y.numpy(), target, options)


def _check(kind: str, options: dict[str, Any]) -> None:
    """Refuse options out of range."""
    few = [name for name in ("size", "letters", "families", "columns", "length") if options.get(name, 1) < 1]
    if few or not 0 <= options.get("blend", 1) <= 1 or not 0 < options.get("level", 1) < 100:
        raise ValueError(
            f"got {kind} triggers with {options}; expected size, letters and families of at least 1, a blend in [0, 1] "
            "and a level above 0 (and below 100)"
        )
