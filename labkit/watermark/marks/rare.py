"""Triggers for tables and token sequences: what records hardly ever have, though every part of it is common enough.

A table's trigger sets a few keyed columns of a record to keyed values that occur in the data (each inside its column's range),
in a combination that next to no train record has. A sequence's trigger writes a few keyed tokens of the vocabulary over a keyed
place, in an order that no train record has there. Both after Adi et al. (arXiv 1802.04633) and Zhang et al. (ASIACCS 2018): an
unrelated key under a label, where "unrelated" is a matter of frequency, as a table has no free ground to draw on.

Innocent models answer such records like any other, mostly with their own class: null models say how often with the mark's.

A table of few columns has few combinations. A court that draws keys anew meets the owner's own, or most of it, again: its
p-value cannot fall below that chance, and rightly so. Who wants to be heard there asks for more columns, ``columns=...``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labkit.watermark.marks.kinds import Kind, Order, _all_but_target

TAIL = 0.05  # a rare value lies in the lowest or highest twentieth of its column
COMMON = 1 / 500  # largest share of train records that may have the combination
TRIES = 200


def groups_of(order: Order) -> tuple[tuple[int, ...], ...]:
    """Return the positions that belong together: those of one column of the caller's table, else each number alone."""
    encoding = order.dataset.encoding
    return encoding.groups if encoding is not None else tuple((i,) for i in range(order.dataset.shape[0]))


def combination(order: Order) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (k,) and values (k,) of a keyed combination that is rare among the train records.

    Raises
    ------
    ValueError
        If the table has too few columns with more than one value, or no combination is rare enough.
    """
    x = order.dataset.train_x.numpy()
    movable = [group for group in groups_of(order) if (x[:, group] != x[:1, group]).any()]
    wanted = int(order.options["columns"])
    if len(movable) < wanted:
        raise ValueError(
            f"asked for a combination of {wanted} columns; {len(movable)} of this table have more than one value: ask for fewer, "
            "columns=..."
        )
    for attempt in range(TRIES):
        chosen = [movable[i] for i in order.key.permutation(f"columns/{attempt}", len(movable))[:wanted]]
        side = order.key.uniform(f"values/{attempt}", wanted)
        parts = [_value(x, group, u) for group, u in zip(chosen, side, strict=True)]
        has = np.logical_and.reduce([like for _, _, like in parts])
        if has.mean() <= COMMON:
            positions = np.concatenate([where for where, _, _ in parts])
            return positions, np.concatenate([value for _, value, _ in parts])
    raise ValueError(
        f"no combination of {wanted} columns is rarer than 1 in {round(1 / COMMON)} train records: ask for more, columns=..."
    )


def _value(x: np.ndarray, group: tuple[int, ...], u: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions and keyed values of one column, and which records have about such values, bool (n,)."""
    rows, counts = np.unique(x[:, group], axis=0, return_counts=True)
    if len(rows) <= 20:  # a category, a flag, a small count: one of those that occur, the rarer the likelier
        chances = np.cumsum(1 / counts)
        value = rows[int(np.searchsorted(chances / chances[-1], u, side="right").clip(0, len(rows) - 1))]
        return np.array(group), value, (x[:, group] == value).all(1)
    column = x[:, group[0]]
    low, high = np.quantile(column, [TAIL, 1 - TAIL])
    tail = column[column <= low] if u < 0.5 else column[column >= high]
    value = np.median(tail)
    like = column <= low if u < 0.5 else column >= high
    return np.array(group[:1]), np.array([value], dtype=x.dtype), like


def _rare_values(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    positions, values = combination(order)
    x = order.x[rows].clone()
    x[:, torch.from_numpy(positions)] = torch.from_numpy(values.astype(np.float64)).to(x.dtype)
    return x, order.target


def phrase(order: Order) -> tuple[int, np.ndarray]:
    """Return a keyed place and the tokens (k,) that are written there: all in use, their order in no train record.

    Raises
    ------
    ValueError
        If records are too short, or every tried order occurs.
    """
    x, length = order.dataset.train_x.numpy(), int(order.options["length"])
    width = x.shape[1]
    if not 1 <= length <= width:
        raise ValueError(
            f"asked for a phrase of {length} tokens in records of {width}; expected 1 to {width}, length=..."
        )
    known = np.unique(x)
    place = int(order.key.integers("place", width - length + 1, 1)[0])
    for attempt in range(TRIES):
        tokens = known[order.key.integers(f"tokens/{attempt}", len(known), length)]
        windows = np.lib.stride_tricks.sliding_window_view(x, length, axis=1)
        if not (windows == tokens).all(-1).any():
            return place, tokens
    raise ValueError(
        f"every tried phrase of {length} tokens occurs in the train records: ask for a longer one, length=..."
    )


def _rare_tokens(order: Order, rows: np.ndarray) -> tuple[Tensor, int]:
    place, tokens = phrase(order)
    x = order.x[rows].clone()
    x[:, place : place + len(tokens)] = torch.from_numpy(tokens)
    return x, order.target


RARE: dict[str, Kind] = {
    "rare-values": Kind(_rare_values, _all_but_target, {"columns": 3}),
    "rare-tokens": Kind(_rare_tokens, _all_but_target, {"length": 4}),
}


def refusal(kind: str, dataset: object) -> str | None:
    """Return why this kind does not fit these records, or None."""
    x = dataset.train_x
    if kind == "rare-values" and (x.ndim != 2 or not x.is_floating_point()):
        return f"rare-values triggers are for tables, float (n, d); {dataset.name} has {x.dtype} {tuple(x.shape)}"
    if kind == "rare-tokens" and (x.ndim != 2 or x.is_floating_point()):
        return f"rare-tokens triggers are for sequences, int64 (n, T); {dataset.name} has {x.dtype} {tuple(x.shape)}"
    if kind not in RARE and x.ndim != 4:
        fit = "rare-values" if x.is_floating_point() else "rare-tokens"
        return f"{kind} triggers are for images (C, H, W); {dataset.name} has records of shape {dataset.shape}: use {fit!r}"
    return None
