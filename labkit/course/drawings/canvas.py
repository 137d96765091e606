"""What the drawings share: sizes that stay legible at 900 pixels, boxes with text, arrows between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.6  # inches at 100 dots: with a notebook's margins this fits a window of 900 pixels unscaled
BIG, SMALL = 13, 11.5  # points
INK, QUIET = "#1a1a1a", "#5a5a5a"
BLUE, RED, GREEN, PINK, _, ORANGE = plots.COLOURS[:6]
# The same hues, dark enough to be read as text on white (contrast above 4.5:1).
TEXT = {BLUE: "#00598c", RED: "#a34700", GREEN: "#006b4e", PINK: "#8f3d6a", ORANGE: "#7a5400"}
PALE = {BLUE: "#e3f0f8", RED: "#fbe9de", GREEN: "#e0f3ec", ORANGE: "#fdf3dc", QUIET: "#f0f0f0"}


def panels(height: float, *, ncols: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of the usual width, and its axes."""
    fig, axes = plots.figure(WIDTH, height, ncols=ncols, **options)
    for ax in fig.axes:
        ax.tick_params(labelsize=SMALL)
        ax.grid(False)
    return fig, axes


def blank(ax: Axes, width: float, height: float) -> Axes:
    """Turn axes into an empty sheet of paper, ``width`` by ``height`` units."""
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return ax


def title(ax: Axes, text: str) -> None:
    """Head a panel."""
    ax.set_title(text, fontsize=BIG, loc="left", color=INK)


def box(
    ax: Axes,
    centre: tuple[float, float],
    size: tuple[float, float],
    text: str,
    colour: str = BLUE,
    *,
    fontsize: float = BIG,
    dashed: bool = False,
) -> None:
    """Draw a rounded box with text in its middle."""
    from matplotlib.patches import FancyBboxPatch

    (x, y), (width, height) = centre, size
    patch = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.12",
        edgecolor=colour,
        facecolor=PALE.get(colour, "white"),
        linewidth=1.8,
        linestyle="--" if dashed else "-",
    )
    ax.add_patch(patch)
    ax.text(x, y, text, ha="center", va="center", fontsize=fontsize, color=INK, linespacing=1.25)


def arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str = INK,
    *,
    bend: float = 0.0,
    dashed: bool = False,
    width: float = 1.8,
) -> None:
    """Draw an arrow from ``start`` to ``end``."""
    style = {
        "arrowstyle": "-|>,head_length=0.5,head_width=0.28",
        "color": colour,
        "linewidth": width,
        "linestyle": "--" if dashed else "-",
        "shrinkA": 0,
        "shrinkB": 0,
        "connectionstyle": f"arc3,rad={bend}",
    }
    ax.annotate("", xy=end, xytext=start, arrowprops=style)


def note(ax: Axes, x: float, y: float, text: str, colour: str = INK, **options: Any) -> None:
    """Write text, centred unless told otherwise."""
    defaults = {"ha": "center", "va": "center", "fontsize": SMALL, "linespacing": 1.25}
    ax.text(x, y, text, color=TEXT.get(colour, colour), **(defaults | options))


def marks(ax: Axes, x: float, ys: Sequence[float], kinds: Sequence[str], size: float = 60) -> None:
    """Draw one symbol below another: a filled circle for "yes", a ring for "no"."""
    for y, kind in zip(ys, kinds, strict=True):
        filled = kind == "yes"
        ax.scatter(
            [x], [y], s=size, facecolor=BLUE if filled else "white", edgecolor=BLUE, linewidth=1.6, zorder=3
        )
