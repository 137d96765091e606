"""The capstone on a whiteboard: hospitals, what each does in order, the server, the model going back, and who sees what.

Five strokes redraw it: the frame around the hospitals, the column of steps, the arrow of masked vectors, the server, the
arrow of the model going back. The red dashes are the question that an interviewer asks next: who sees what?
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit import plots
from labkit.federated.noise import PLACEMENTS, UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("A", "B", "C", "D", "E")
MOST = 10  # hospitals whose names still fit into the column
BLUE, RED, GREEN, GREY = plots.COLOURS[0], plots.COLOURS[1], plots.COLOURS[2], "#555555"
MASKED = "uniform words, no sum"
NOISY = {  # what a hospital does about noise, where it does
    "local": "add the full noise",
    "distributed": "add its share of the noise",
    "record": "DP-SGD, full noise in each step",
}
VIEWS = {  # what the server gets to see
    "none": "the exact sum",
    "central": "the exact sum",
    "local": "the sum; each part of it\nhas the full noise",
    "distributed": "the sum, with noise",
    "record": "the sum; each part of it\nhas the full noise",
}


def steps(placement: str, *, unit: str = "patient", marks: bool = True) -> tuple[str, ...]:
    """Return what each hospital does in a round, in order; the step that draws noise is the one of `NOISY`.

    Raises
    ------
    ValueError
        For a placement or unit that `labkit.federated.Noise` does not know.

    Examples
    --------
    >>> steps("distributed")[1:4]
    ('add the mark', 'round to the grid', 'add its share of the noise')
    """
    if placement not in PLACEMENTS or unit not in UNITS:
        raise ValueError(
            f"placement={placement!r}, unit={unit!r}; expected one of {', '.join(PLACEMENTS)}, for a "
            f"{' or a '.join(UNITS)}"
        )
    if placement == "record" and unit == "hospital":
        raise ValueError("placement 'record' hides a patient; expected unit='patient'")
    mark = ["add the mark"] if marks else []
    if placement == "record":
        first = [NOISY[placement], *mark]
    elif placement == "none":
        first = ["sum the gradients", *mark]
    elif unit == "hospital":  # the whole update is the unit, so the mark is inside of what is clipped
        first = ["train on its records", *mark, "clip the whole update"]
    else:
        first = ["clip each patient's gradient, sum", *mark]
    noise = [NOISY[placement]] if placement in ("local", "distributed") else []
    return (*first, "round to the grid", *noise, "mask")


def architecture(
    names: Sequence[str] = NAMES,
    *,
    placement: str = "distributed",
    threshold: int = 4,
    marks: bool = True,
    dropped: Sequence[str] = (),
    unit: str = "patient",
) -> Figure:
    """Draw one round: records and keys on the hospitals' side, sums on the server's, red dashes where someone looks on.

    Parameters
    ----------
    names : sequence of str
        Of the hospitals, 2 to 10.
    placement : {"none", "central", "local", "distributed", "record"}
        Where the noise is drawn: green and bold.
    threshold : int
        Fewest hospitals whose sum the server may open.
    marks : bool
        Whether hospitals mark the model.
    dropped : sequence of str
        Who vanishes before sending, crossed out.
    unit : {"patient", "hospital"}
        Whose presence the noise hides.

    Raises
    ------
    ValueError
        For a placement or unit that does not exist, a threshold out of range, or names that do not fit.

    Examples
    --------
    >>> architecture(["Ash", "Birch", "Cedar"], threshold=2).alt_text[:46]
    'One round among 3 hospitals (Ash, Birch, Cedar'
    """
    names, dropped = tuple(names), tuple(dropped)
    order = steps(placement, unit=unit, marks=marks)
    _check(names, threshold, dropped)
    server = _server(placement, threshold, len(names) - len(dropped))
    fig, ax = plots.figure(8.0, 5.0)
    ax.axis("off")
    ax.set(xlim=(0, 8), ylim=(0, 5))
    _hospitals(ax, names, dropped)
    _chain(ax, order)
    _box(ax, (6.0, 1.45), 1.9, 1.87, "", GREY)
    ax.text(6.95, 3.08, "server", ha="center", fontsize=10, fontweight="bold")
    for row, (text, noisy) in enumerate(server):
        style = {"color": GREEN, "fontweight": "bold"} if noisy else {}
        ax.text(6.95, 2.78 - 0.36 * row, text, ha="center", va="center", fontsize=8.5, **style)
    _box(ax, (6.0, 0.15), 1.9, 0.4, "outsider", GREY)
    opened = len(names) - len(dropped) >= threshold
    _arrows(ax, opened)
    _observers(ax, placement, opened)
    said = _alt(names, dropped, order, server, placement, opened)
    return plots.describe(fig, said)


def _check(names: tuple[str, ...], threshold: int, dropped: tuple[str, ...]) -> None:
    if not 2 <= len(names) <= MOST or len(set(names)) < len(names):
        raise ValueError(f"names are {names}; expected 2 to {MOST} different names")
    if not 1 <= threshold <= len(names):
        raise ValueError(f"threshold is {threshold} of {len(names)} hospitals; expected 1 to {len(names)}")
    unknown = [name for name in dropped if name not in names]
    if unknown or len(set(dropped)) < len(dropped):
        raise ValueError(f"dropped is {dropped}; expected names of {names}, each once")


def _server(placement: str, threshold: int, here: int) -> list[tuple[str, bool]]:
    """Return the server's lines, and whether each is one that draws noise."""
    if here < threshold:
        return [("adds the vectors", False), (f"STOP: {here} left,\n{threshold} needed", False)]
    noise = [("adds the noise", True)] if placement == "central" else []
    return [
        ("adds the vectors", False),
        (f"opens only a sum of ≥ {threshold}", False),
        *noise,
        ("steps the model", False),
    ]


def _hospitals(ax: Axes, names: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    """Draw the frame that records and keys never leave, and the hospitals in it."""
    _box(ax, (0.08, 0.62), 4.32, 3.5, "", BLUE)
    ax.text(0.22, 3.87, "records and keys stay in here", fontsize=9, color=BLUE, fontweight="bold")
    pitch = 3.02 / len(names)
    size = min(9.0, 60 * pitch)
    for row, name in enumerate(names):
        y = 3.7 - (row + 1) * pitch + 0.04
        gone = name in dropped
        short = textwrap.shorten(name, 14, placeholder="…") or name[:13] + "…"
        _box(ax, (0.22, y), 1.2, pitch - 0.1, short, GREY if gone else BLUE, size=size, faded=gone)
        if gone:
            ax.text(1.3, y + (pitch - 0.1) / 2, "×", ha="center", va="center", color=RED, fontsize=15)
    _arrow(ax, (1.48, 2.15), (1.84, 2.15))
    ax.text(1.64, 2.22, "each", ha="center", fontsize=8, color=GREY)


def _chain(ax: Axes, order: tuple[str, ...]) -> None:
    """Draw what each hospital does, top to bottom; masking, the last, stands beside the server."""
    pitch = 3.02 / len(order)
    height = min(0.42, pitch - 0.18)
    for row, text in enumerate(order):
        y = 3.69 - row * pitch - (pitch + height) / 2
        noisy = text in NOISY.values()
        _box(ax, (1.9, y), 2.36, height, f"{row + 1} {text}", GREEN if noisy else GREY, bold=noisy)
        if row:
            _arrow(ax, (3.08, y + pitch), (3.08, y + height))


def _arrows(ax: Axes, opened: bool) -> None:
    """Draw masked vectors to the server, and the model back to the hospitals and out to everybody."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    _arrow(ax, (4.32, 0.97), (5.94, 1.75), width=2.2)
    ax.text(5.42, 1.02, "masked\nvectors", ha="left", va="center", fontsize=8.5, color=GREY)
    if not opened:
        return
    back = Path([(6.95, 3.36), (6.95, 4.62), (0.82, 4.62), (0.82, 4.18)])
    style = {"arrowstyle": "-|>", "mutation_scale": 14, "color": GREY, "linewidth": 2.2}
    ax.add_patch(FancyArrowPatch(path=back, **style, joinstyle="round"))
    ax.text(6.2, 4.7, "new model", ha="center", fontsize=8.5, color=GREY)
    _arrow(ax, (6.6, 1.4), (6.6, 0.6), width=2.2)


def _observers(ax: Axes, placement: str, opened: bool) -> None:
    """Draw a red dashed line across each arrow, and what whoever stands behind it sees."""
    own = ", knows its own noise" if placement in NOISY else ""
    view = VIEWS[placement] if opened else MASKED
    looks = [(((5.2, 5.2), (0.95, 2.0)), (5.2, 2.32), f"the server sees\n{view}", "center")]
    if opened:
        looks += [
            (((1.9, 1.9), (4.42, 4.84)), (2.0, 4.77), f"another hospital sees the model{own}", "left"),
            (((6.15, 7.75), (0.9, 0.9)), (6.72, 1.06), "sees the model", "left"),
        ]
    for line, at, text, side in looks:
        ax.plot(*line, color=RED, linestyle=(0, (4, 2)), linewidth=1.6)
        ax.text(*at, text, ha=side, va="center", fontsize=8.5, color=RED)


def _box(
    ax: Axes,
    corner: tuple[float, float],
    width: float,
    height: float,
    text: str,
    colour: str,
    *,
    size: float = 8.5,
    bold: bool = False,
    faded: bool = False,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    look = {"edgecolor": colour, "linewidth": 2.4 if bold else 1.2, "linestyle": ":" if faded else "-"}
    ax.add_patch(
        FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.06", facecolor="white", **look)
    )
    at = corner[0] + width / 2, corner[1] + height / 2
    style = {
        "color": GREY if faded else colour if bold else "black",
        "fontweight": "bold" if bold else "normal",
    }
    ax.text(*at, text, ha="center", va="center", fontsize=size, **style)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], *, width: float = 1.2) -> None:
    look = {"arrowstyle": "-|>", "color": GREY, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=look)


def _alt(
    names: tuple[str, ...],
    dropped: tuple[str, ...],
    order: tuple[str, ...],
    server: list[tuple[str, bool]],
    placement: str,
    opened: bool,
) -> str:
    """Return the picture in words."""
    lines = ", ".join(text.replace("\n", " ") for text, _ in server)
    gone = f" {', '.join(dropped)} vanished before sending." if dropped else ""
    where = {"none": "Nobody draws noise", "central": "The server draws the noise"}
    noise = where.get(placement, f"Noise is drawn in every hospital ({NOISY.get(placement)})")
    view = (VIEWS[placement] if opened else MASKED).replace("\n", " ")
    model = (
        f" Arrows take the new model back to the hospitals and out to everybody. {noise}. Red dashes: the server sees "
        f"{view}; another hospital sees the model{' and knows its own noise' if placement in NOISY else ''}; an "
        "outsider sees the model."
    )
    return (
        f"One round among {len(names)} hospitals ({', '.join(names)}), in whose frame records and keys stay.{gone} Each, in "
        f"order: {'; '.join(order)}. An arrow takes masked vectors to the server, which {lines}."
        + (model if opened else f" There is no new model. Red dashes: the server sees {view}.")
    )
