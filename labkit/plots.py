"""One house style for all figures: labelled, colour-safe, readable in print, with a text for those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from cycler import cycler

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Okabe & Ito (2008): distinct under the common forms of colour blindness; line styles carry the same information.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

STYLE: dict[str, Any] = {
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINES),
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "savefig.dpi": 100,
}


# A white figure glares in a dark theme of JupyterLab or VS Code; a little dimmed, all of it can still be read.
DIMMED = (
    "<style>.labkit-figure{max-width:100%;height:auto}"
    '[data-jp-theme-light="false"] .labkit-figure,.vscode-dark .labkit-figure{filter:brightness(.85)}</style>'
)


def figure(
    width: float = 6.4, height: float = 4.0, *, nrows: int = 1, ncols: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return ``(figure, axes)`` in the house style; ``axes`` is an array when there are several.

    Parameters
    ----------
    width, height : float
        Inches; at 100 dots per inch a default figure is 640 x 400 pixels.
    **options
        Passed on to ``Figure.subplots``, such as ``sharey=True``.
    """
    # No pyplot: a figure made this way is garbage-collected, shows nowhere by itself and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        canvas = Figure(figsize=(width, height))
        FigureCanvasAgg(canvas)
        return canvas, canvas.subplots(nrows, ncols, **options)


def describe(fig: Figure, alt: str) -> Figure:
    """Give a figure the text that a screen reader reads, and return the figure.

    Raises
    ------
    ValueError
        If the text is shorter than 20 characters: it should say what is drawn and what one sees in it.
    """
    if len(alt.strip()) < 20:
        raise ValueError(f"alt text {alt!r} is too short: say what is drawn and what one sees in it")
    fig.alt_text = alt
    return fig


def show(fig: Figure, *, poster: bool = False) -> None:
    """Display a figure in a notebook as a PNG that carries its alt text.

    JupyterLab reads no alt text from a PNG's metadata, so it also gets the picture as HTML, which it prefers.
    `labkit.course.notebooks.execute` keeps only the PNG.

    Parameters
    ----------
    poster : bool
        Marks a figure that stands for its lab: ``labkit build --execute`` saves it for the README.

    Raises
    ------
    ValueError
        If the figure was never given an alt text by `describe`.
    """
    from IPython.display import display

    data, metadata = bundle(fig, poster=poster)
    display(data, metadata=metadata, raw=True)


def bundle(fig: Figure, *, poster: bool = False) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return a figure as Jupyter displays it: data by MIME type, and their metadata.

    Raises
    ------
    ValueError
        If the figure was never given an alt text by `describe`.
    """
    import html
    from base64 import b64encode
    from io import BytesIO

    alt = getattr(fig, "alt_text", None)
    if alt is None:
        raise ValueError("this figure has no alt text: pass it through plots.describe(fig, alt) first")
    buffer = BytesIO()
    with mpl.rc_context(STYLE):
        wrap_titles(fig)
        fig.savefig(buffer, format="png", dpi=100)
    png = b64encode(buffer.getvalue()).decode()
    page = f'{DIMMED}<img class="labkit-figure" alt="{html.escape(alt)}" src="data:image/png;base64,{png}">'
    data = {"image/png": png, "text/html": page, "text/plain": alt}
    return data, {"image/png": {"alt": alt} | ({"poster": True} if poster else {})}


def wrap_titles(fig: Figure) -> None:
    """Break every title that is longer than its place into lines: what is cut off is the source, at the end.

    A formula is left whole.
    """
    fig.draw_without_rendering()
    for _ in range(3):  # broken titles move the axes, which may leave less room
        found = [
            (text, room) for text, room in _titles(fig) if text.get_text() and "$" not in text.get_text()
        ]
        long = [(text, room) for text, room in found if text.get_window_extent().width > room]
        for text, room in long:
            _break(text, room)
        if not long:
            return
        fig.draw_without_rendering()


def _titles(fig: Figure) -> list[tuple[Text, float]]:
    """Return each title of a figure with the room it has, in pixels."""
    margin = 0.06 * fig.dpi
    right = float(fig.bbox.width) - margin
    found = [(fig._suptitle, right)] if fig._suptitle else []
    for ax in fig.axes:
        here = ax.get_window_extent()
        beside = [other.get_window_extent() for other in fig.axes if other is not ax]
        same_row = [box for box in beside if box.y0 < here.y1 and box.y1 > here.y0]
        end = min([box.x0 - margin for box in same_row if box.x0 >= here.x1], default=right)
        start = max([box.x1 + margin for box in same_row if box.x1 <= here.x0], default=margin)
        middle = (here.x0 + here.x1) / 2
        rooms = (end - here.x0, 2 * min(end - middle, middle - start), here.x1 - start)
        found += zip((ax._left_title, ax.title, ax._right_title), rooms, strict=True)
    return found


def _break(text: Text, room: float) -> None:
    """Break the lines of a text between words until it fits, or until a single word is too long."""
    from textwrap import wrap

    whole = text.get_text()
    longest = max(map(len, whole.split("\n")))
    for letters in range(longest - 1, 7, -1):
        lines = [
            part for line in whole.split("\n") for part in wrap(line, letters, break_long_words=False) or [""]
        ]
        text.set_text("\n".join(lines))
        if text.get_window_extent().width <= room:
            return


def band(ax: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], **options: Any) -> None:
    """Shade the interval between ``low`` and ``high`` behind a curve."""
    ax.fill_between(x, low, high, **({"alpha": 0.2, "linewidth": 0} | options))


def epsilon_axis(ax: Axes, label: str = "ε (PLD)") -> None:
    """Make the x axis logarithmic with plain numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(label)


def images(pictures: np.ndarray, titles: Sequence[str], *, columns: int = 10, alt: str) -> Figure:
    """Return a contact sheet of ``pictures`` of shape (n, C, H, W) in [0, 1], one title each (may be empty)."""
    rows = -(-len(pictures) // columns)
    fig, axes = figure(0.85 * columns, 1.05 * rows + 0.1, nrows=rows, ncols=columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        channels_last = picture.transpose(1, 2, 0)
        ax.imshow(
            channels_last.squeeze(), cmap="gray_r" if channels_last.shape[2] == 1 else None, vmin=0, vmax=1
        )
        ax.set_title(title, fontsize=8, loc="center")
    return describe(fig, alt)
