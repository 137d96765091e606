"""Augmented queries: the same record shown to the model in several ways, for more evidence per record.

Carlini et al., "Membership inference attacks from first principles" (arXiv 2112.03570), section VI-C: a model trained
with augmentation memorises the augmented records too, so asking for the mirrored image adds signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Query = Callable[[Tensor], Tensor]


def _shifted(dx: int, dy: int) -> Query:
    """Return a query that moves images by (dx, dy) pixels, filling with zeros."""

    def shift(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
        return padded[..., 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]

    return shift


def _mirror(x: Tensor) -> Tensor:
    return x.flip(-1)


def _all() -> dict[str, Query]:
    """Return the 18 named queries: the nine shifts by at most one pixel, plain and mirrored, nearest first."""
    offsets = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    queries: dict[str, Query] = {}
    for dx, dy in offsets:
        move = _shifted(dx, dy)
        suffix = "" if (dx, dy) == (0, 0) else f" shift {dx:+d},{dy:+d}"
        queries[f"plain{suffix}"] = move
        queries[f"mirror{suffix}"] = lambda x, move=move: move(_mirror(x))
    return queries


QUERIES = _all()


def names(count: int) -> tuple[str, ...]:
    """Return the first ``count`` queries: plain, mirror, then shifts by one pixel with and without the mirror.

    Raises
    ------
    ValueError
        If ``count`` is not between 1 and 18.
    """
    if not 1 <= count <= len(QUERIES):
        raise ValueError(f"queries is {count}; expected 1 to {len(QUERIES)}")
    return tuple(QUERIES)[:count]


def ask(x: Tensor, queries: tuple[str, ...]) -> Iterator[Tensor]:
    """Yield ``x`` of shape (n, ...) in each of the ways named by ``queries``.

    Raises
    ------
    ValueError
        If a query is unknown, or other than "plain" for records that are not images.
    """
    for name in queries:
        if name not in QUERIES:
            raise ValueError(f"query {name!r} is unknown; expected some of {', '.join(QUERIES)}")
        if name != "plain" and x.ndim != 4:
            raise ValueError(
                f"query {name!r} needs images [n, C, H, W]; got shape {tuple(x.shape)}: use queries=1"
            )
        yield x if name == "plain" else QUERIES[name](x)
