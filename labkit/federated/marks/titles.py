"""Titles of the figures on marks: what is shown, and in full where the records came from."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS_AN_INCH = 10  # at 9 points, with room for the labels at the left


def entitle(ax: Axes, head: str, source: str) -> None:
    """Write a heading and the source above ``ax``, in as many lines as its figure's width asks for."""
    width = int(LETTERS_AN_INCH * ax.figure.get_figwidth())
    lines = [line for part in (head, source) if part for line in textwrap.wrap(part, width)]
    ax.set_title("\n".join(lines), fontsize=9, loc="left")


def splits(source: str, count: int) -> str:
    """Return a source that is the first of several splits of the same records."""
    return source if count == 1 else f"{source} (the first of {count} splits)"
