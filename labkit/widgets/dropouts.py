"""Who vanishes when: one round of secure aggregation as a picture, with what the server recovers and what stops it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOSPITALS = {"A": 1, "B": 2, "C": 4, "D": 8, "E": 16}  # powers of two: a sum says who is in it
STAYS = "stays"
TITLES = {
    "advertise": "1 · keys",
    "share": "2 · shares",
    "masked": "3 · masked vector",
    "consistency": "4 · who is left",
    "unmask": "5 · unmask",
}
DOWN = ("all keys", "boxes for you", "who is left", "signatures")
BLUE, RED, GREEN, GREY = plots.COLOURS[0], plots.COLOURS[1], plots.COLOURS[2], "#666666"


@dataclass(frozen=True)
class Flow:
    """One round as it went.

    Attributes
    ----------
    present : dict of str to tuple of str
        Who sends its message, by stage; stages after a stop are missing.
    total : int or None
        The sum that the server opened, of values 1, 2, 4, 8 and 16.
    stopped : str
        Why there is no sum; empty if there is one.
    """

    present: dict[str, tuple[str, ...]]
    threshold: int
    total: int | None
    stopped: str

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose masked vectors came."""
        return self.present.get("masked", ())

    @property
    def vanished_after_sharing(self) -> tuple[str, ...]:
        """Whose pairwise masks are left over in the sum."""
        return tuple(name for name in self.present.get("share", ()) if name not in self.survivors)

    @property
    def outcome(self) -> str:
        """What the server ends up with, in words."""
        if self.total is None:
            return f"no sum: {self.stopped}"
        parts = " + ".join(str(HOSPITALS[name]) for name in self.survivors)
        return f"sum {self.total} = {parts}: the vectors of {', '.join(self.survivors)}, and no single one"


def run(drop: Mapping[str, str], threshold: int = 3) -> Flow:
    """Run one real round among five hospitals, where ``drop`` says who vanishes at which stage.

    Raises
    ------
    ValueError
        If a name, a stage or the threshold is not one of the round's.
    """
    from labkit.federated.secagg.terms import STAGES, least_threshold

    least = least_threshold(len(HOSPITALS))
    if not least <= threshold <= len(HOSPITALS):
        raise ValueError(f"threshold is {threshold}; expected {least} to {len(HOSPITALS)}, more than half")
    for name, stage in drop.items():
        if name not in HOSPITALS or stage not in STAGES:
            raise ValueError(f"drop has {name!r}: {stage!r}; expected one of {list(HOSPITALS)} and {STAGES}")
    total, stopped = _real_round(tuple(sorted(drop.items())), threshold)
    present = {}
    for number, stage in enumerate(STAGES):
        gone = {name for name, last in drop.items() if STAGES.index(last) <= number}
        present[stage] = tuple(name for name in HOSPITALS if name not in gone)
        if len(present[stage]) < threshold:
            break
    return Flow(present, threshold, total, stopped)


@lru_cache(maxsize=512)
def _real_round(drop: tuple[tuple[str, str], ...], threshold: int) -> tuple[int | None, str]:
    """Return the sum that the protocol gives, or why it stopped."""
    from labkit.federated.secagg import Encoding, SecAggError, fresh_round_id, secure_sum_integers

    try:
        found = secure_sum_integers(
            {name: np.array([value]) for name, value in HOSPITALS.items()},
            threshold=threshold,
            encoding=Encoding(scale=1, bits=32, parties=len(HOSPITALS), bound=max(HOSPITALS.values())),
            drop=dict(drop),
            round_id=fresh_round_id(),
            model_digest=b"the same for all",
        )
    except SecAggError as error:
        return None, str(error).split(":")[0]
    return int(found.integers[0]), ""


def message_flow(drop: Mapping[str, str] | None = None, threshold: int = 3) -> Figure:
    """Draw one round: a column a stage, a row a hospital, the server below; who vanishes leaves a cross.

    Parameters
    ----------
    drop : mapping of str to str, optional
        Stage at which a hospital of A to E vanishes: "advertise", "share", "masked", "consistency" or "unmask".
    threshold : int
        How many must be left at each stage, 3 to 5.

    Raises
    ------
    ValueError
        If a name, a stage or the threshold is not one of the round's.
    """
    flow = run(drop or {}, threshold)
    fig, ax = plots.figure(9.2, 5.2)
    ax.axis("off")
    ax.set(xlim=(-0.75, 5.02), ylim=(-1.75, 5.05))
    for row, (name, value) in enumerate(HOSPITALS.items()):
        ax.text(-0.1, 4 - row, f"{name}  (holds {value})", ha="right", va="center", fontsize=9)
    ax.text(-0.1, -1, "server", ha="right", va="center", fontsize=9, fontweight="bold")
    for column, (stage, title) in enumerate(TITLES.items()):
        ax.text(column + 0.45, 4.75, title, ha="center", fontsize=10, fontweight="bold")
        _column(ax, flow, stage, column)
    ax.set_title(f"threshold {threshold} of {len(HOSPITALS)}: {flow.outcome}", fontsize=10)
    return plots.describe(fig, _alt(flow))


def _column(ax: Axes, flow: Flow, stage: str, column: int) -> None:
    """Draw one stage: each hospital's message or cross, and what the server has then."""
    if stage not in flow.present:
        ax.text(column + 0.45, 2, "does not\nhappen", ha="center", va="center", color=GREY, fontsize=9)
        return
    for row, name in enumerate(HOSPITALS):
        if name in flow.present[stage]:
            _box(ax, column, 4 - row, _message(flow, stage), BLUE)
        else:
            ax.text(column + 0.45, 4 - row, "×", ha="center", va="center", color=RED, fontsize=16)
    text, colour = _server(flow, stage)
    _box(ax, column, -1, text, colour)
    _arrow(ax, (column + 0.3, -0.36), (column + 0.3, -0.64))
    number = list(TITLES).index(stage)
    if number < len(DOWN) and list(TITLES)[number + 1] in flow.present:
        _arrow(ax, (column + 0.9, -0.75), (column + 1.12, -0.36))
        ax.text(column + 0.98, -1.62, DOWN[number], ha="center", fontsize=8, style="italic", color=GREY)


def _message(flow: Flow, stage: str) -> str:
    """Return what each hospital sends at a stage."""
    peers = len(flow.present["advertise"]) - 1
    return {
        "advertise": "2 public keys,\nsigned",
        "share": f"{peers} boxes: shares\nof seed and key",
        "masked": "value + own mask\n± pair masks",
        "consistency": "signature under\nwho is left",
        "unmask": f"seed shares of {len(flow.survivors)},\nkey shares of {len(flow.vanished_after_sharing)}",
    }[stage]


def _server(flow: Flow, stage: str) -> tuple[str, str]:
    """Return what the server has after a stage, and the colour that says how it goes on."""
    here = len(flow.present[stage])
    if here < flow.threshold:
        return f"STOP: {here} left,\n{flow.threshold} needed", RED
    if stage == "unmask":
        return f"sum {flow.total}", GREEN
    return {
        "advertise": f"{here} hospitals'\npublic keys",
        "share": "boxes that it\ncannot open",
        "masked": f"{here} vectors of\nuniform words",
        "consistency": f"{here} signatures,\none list",
    }[stage], GREY


def _box(ax: Axes, column: float, row: float, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0.02,rounding_size=0.06"
    box = FancyBboxPatch((column + 0.05, row - 0.3), 0.8, 0.6, style, facecolor="white", edgecolor=colour)
    ax.add_patch(box)
    ax.text(column + 0.45, row, text, ha="center", va="center", fontsize=7.5)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY})


def _alt(flow: Flow) -> str:
    """Return the picture in words."""
    stages = "; ".join(
        f"{TITLES[stage]}: {', '.join(names) or 'nobody'} send" for stage, names in flow.present.items()
    )
    return (
        f"One round of secure aggregation among hospitals A to E, a column for each of five stages, the server below. "
        f"{stages}. Threshold {flow.threshold}. Outcome: {flow.outcome}."
    )


def dropout_explorer() -> ipywidgets.Widget:
    """Return a menu for each hospital and a slider for the threshold around `message_flow`."""
    import ipywidgets

    stages = [(STAYS, STAYS), *((f"vanishes at {title}", stage) for stage, title in TITLES.items())]
    menus = {
        name: ipywidgets.Dropdown(options=stages, value=STAYS, description=f"hospital {name}")
        for name in HOSPITALS
    }
    slider = ipywidgets.IntSlider(
        value=3, min=3, max=len(HOSPITALS), description="threshold", continuous_update=False
    )

    def redraw(threshold: int, **chosen: str) -> None:
        drop = {name: stage for name, stage in chosen.items() if stage != STAYS}
        plots.show(message_flow(drop, threshold))

    shown = live.follow(redraw, {"threshold": slider, **menus})
    return ipywidgets.VBox([*menus.values(), slider, shown])
