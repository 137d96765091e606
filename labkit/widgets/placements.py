"""Where the noise stands, what it costs, and whom it protects: measured accuracies beside what each observer leaves of ε."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots, stats
from labkit.federated import noise as noises
from labkit.federated.drawing import architecture
from labkit.federated.study import NAMES
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.federated.noise import Noise
    from labkit.federated.study import PlacementCurve, Point

DELTA = 1e-5  # of the study's promises
STATED = "PLD, δ = 1e-5, full batch, add/remove"  # what every ε here is


@dataclass(frozen=True)
class Left:
    """What is left of a promise against one observer: ``epsilon`` by PLD, infinite where there is no promise."""

    observer: str
    epsilon: float


def curve_of(curves: Sequence[PlacementCurve], unit: str) -> PlacementCurve:
    """Return the curve that measured this unit.

    Raises
    ------
    LookupError
        If none did; the message lists the units that were measured.
    """
    for curve in curves:
        if any(point.epsilon and point.unit == unit for point in curve.points):
            return curve
    have = sorted({point.unit for curve in curves for point in curve.points if point.epsilon})
    raise LookupError(f"nothing measured for unit {unit!r}; measured: {', '.join(have) or 'nothing private'}")


def against(point: Point) -> tuple[Left, ...]:
    """Return what is left of a point's promise against each observer, in rounds that end at the threshold."""
    noise = point.noise
    cases = [(observer, 0, observer) for observer in noises.OBSERVERS[:2]]
    for k in range(1, noise.threshold):
        cases.append((noises.OBSERVERS[2], k, "another hospital" if k == 1 else f"{k} hospitals together"))
    return tuple(Left(name, _epsilon(noise, point.rounds, who, k)) for who, k, name in cases)


@lru_cache(maxsize=512)
def _epsilon(noise: Noise, rounds: int, observer: str, colluders: int) -> float:
    """Return ε by PLD of training and statistics, as `Noise.statement` does with all accountants; infinite without noise."""
    from labkit.dp.accounting.accountants import pld_epsilon

    faced = noise.against(observer, colluders=colluders)
    statistics = noise.statistics_against(observer, colluders=colluders)
    if not faced:
        return float("inf")
    return pld_epsilon(noise.events(rounds, faced, statistics), DELTA)


def words(curves: Sequence[PlacementCurve], placement: str, epsilon: float, unit: str = "patient") -> str:
    """Return what one choice costs and promises, in lines of text.

    Raises
    ------
    LookupError
        If it was not measured; the message lists what was.
    """
    curve = curve_of(curves, unit)
    point = curve.point(placement, epsilon, unit)
    lines = [
        f"{placement}: test accuracy {point.mean.percent(1)} (95%, mean over {len(point.accuracies)} seeds: splits, "
        f"hospitals, noise); without noise {curve.point('none').mean.percent(1)}",
        f"the noise costs {_points_lost(curve, point)} points (95%, mean of the differences on the same seeds)",
        f"{curve.source}; {curve.profile}",
        f"promise: {point.statement}",
        f"left against each, ε ({STATED}), unit {unit}, rounds that end with "
        f"{point.noise.threshold} of {point.noise.hospitals} hospitals:",
    ]
    for left in against(point):
        said = f"{left.epsilon:.2f}" if np.isfinite(left.epsilon) else "no promise: sees the exact sum"
        lines.append(f"  {left.observer:<28}{said}")
    return "\n".join(lines)


def _points_lost(curve: PlacementCurve, point: Point) -> str:
    pairs = zip(curve.point("none").accuracies, point.accuracies, strict=True)
    lost = stats.mean_interval([100 * (plain - private) for plain, private in pairs])
    return f"{lost.estimate:.1f} [{lost.low:.1f}, {lost.high:.1f}]"


def placement_picture(
    curves: Sequence[PlacementCurve], placements: Sequence[str], epsilon: float, unit: str = "patient"
) -> Figure:
    """Draw accuracy over seeds for some placements at one ε, beside what each observer leaves of that ε.

    Parameters
    ----------
    curves : sequence of PlacementCurve
        See `labkit.federated.placement_curve`. Nothing is trained again.
    placements : sequence of str

    Raises
    ------
    LookupError
        If one of them was not measured at this ε for this unit; the message lists what was.
    ValueError
        If there is no placement.
    """
    if not placements:
        raise ValueError("placements is empty: expected at least one, such as ['distributed']")
    curve = curve_of(curves, unit)
    points = [curve.point(placement, epsilon, unit) for placement in placements]
    # One look a placement, whatever is shown beside it.
    looks = {name: index for index, name in enumerate(list(NAMES)[1:])}
    fig, (left, right) = plots.figure(8.0, 4.2, ncols=2, width_ratios=[2, 3])
    _draw_accuracies(left, curve, points, looks)
    told = _draw_what_is_left(right, points, looks)
    fig.suptitle(f"{curve.source}; {curve.profile}", fontsize=8)
    costs = "; ".join(f"{point.placement} {point.mean.percent(1)}" for point in points)
    return plots.describe(
        fig,
        f"Left: test accuracy, mean over {len(curve.seeds)} seeds with 95% interval, at a target of ε = {epsilon:g} "
        f"({STATED}, unit {unit}): {costs}; without noise {curve.point('none').mean.percent(1)}. Right: ε that is left "
        f"against each observer: {told}.",
    )


def _measured(curve: PlacementCurve, unit: str) -> list[str]:
    return list(dict.fromkeys(p.placement for p in curve.points if p.epsilon and p.unit == unit))


def _draw_accuracies(ax: Axes, curve: PlacementCurve, points: list[Point], looks: dict[str, int]) -> None:
    plain = curve.point("none").mean
    ax.axhspan(100 * plain.low, 100 * plain.high, color="black", alpha=0.08, linewidth=0)
    ax.axhline(100 * plain.estimate, color="black", linestyle=":", linewidth=1)
    for at, point in enumerate(points):
        look, mean = looks[point.placement], point.mean
        colour = plots.COLOURS[look]
        spread = at + np.linspace(-0.16, 0.16, len(point.accuracies))
        dots = {"marker": ".", "markersize": 3, "alpha": 0.5, "linestyle": "none"}
        ax.plot(spread, 100 * np.array(point.accuracies), color=colour, **dots)
        ends = [[100 * (mean.estimate - mean.low)], [100 * (mean.high - mean.estimate)]]
        marker = "osD^v"[look]
        ax.errorbar(
            at, 100 * mean.estimate, yerr=ends, color=colour, marker=marker, capsize=4, linestyle="none"
        )
    ax.set_xticks(range(len(points)), [point.placement for point in points], fontsize=8, rotation=20)
    ax.set(xlim=(-0.5, len(points) - 0.5))
    ax.set_ylabel(
        f"test accuracy, % (dots: {len(curve.seeds)} seeds;\nmean and its 95% interval)", fontsize=9
    )
    ax.set_title("dotted line and band: no noise, no promise", fontsize=8)


def _draw_what_is_left(ax: Axes, points: list[Point], looks: dict[str, int]) -> str:
    """Draw a group of bars an observer, a bar a placement, and return them in words."""
    found = {point.placement: against(point) for point in points}
    observers = [left.observer for left in next(iter(found.values()))]
    highest = max(left.epsilon for row in found.values() for left in row if np.isfinite(left.epsilon))
    height, told = 0.8 / len(points), []
    for index, (placement, row) in enumerate(found.items()):
        look = looks[placement]
        for at, left in enumerate(row):
            y = at + (index - (len(points) - 1) / 2) * height
            finite = bool(np.isfinite(left.epsilon))
            style = {"color": plots.COLOURS[look]} if finite else {"facecolor": "white", "hatch": "////"}
            name = placement if at == len(row) - 1 else None
            style |= {"edgecolor": plots.COLOURS[look], "linewidth": 0.8, "label": name}
            end = left.epsilon if finite else 1.2 * highest
            ax.barh(y, end, 0.9 * height, **style)
            said = f"{left.epsilon:.3g}" if finite else "no promise"
            ax.text(end + 0.015 * highest, y, said, va="center", fontsize=7)
            told.append(f"{placement} against {left.observer} {said}")
    ax.set_yticks(range(len(observers)), observers, fontsize=8)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    unit = points[0].unit
    ax.set(xlim=(0, 1.5 * highest))
    ax.set_axisbelow(True)
    ax.set_xlabel(f"ε left, unit {unit}, fewest survivors\n({STATED})", fontsize=9)
    if len(points) > 1:
        ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return ", ".join(told)


def placement_explorer(*curves: PlacementCurve) -> ipywidgets.Widget | None:
    """Return menus for unit, ε and placement around `placement_picture`, `words` and the architecture drawing.

    Without ipywidgets, show one choice as text and pictures, and return None.

    Parameters
    ----------
    curves : PlacementCurve
        One, or one a unit. Nothing is trained.

    Raises
    ------
    ValueError
        If there is no curve.
    LookupError
        If no curve has a private point.
    """
    if not curves:
        raise ValueError("no curve was given: pass the result of labkit.federated.placement_curve")
    private = [point for curve in curves for point in curve.points if point.epsilon]
    if not private:
        raise LookupError(
            "no point of the curves is private: give placement_curve epsilons, such as (1.0, 3.0)"
        )
    units = [unit for unit in noises.UNITS if any(point.unit == unit for point in private)]
    start = min(private, key=lambda point: (units.index(point.unit), point.placement != "distributed"))

    def redraw(unit: str, epsilon: float, placement: str, beside: bool) -> None:
        curve = curve_of(curves, unit)
        try:
            text = words(curves, placement, epsilon, unit)
        except LookupError as error:
            print(error)
            return
        at_epsilon = {p.placement for p in curve.points if (p.epsilon, p.unit) == (epsilon, unit)}
        shown = [name for name in _measured(curve, unit) if name in at_epsilon] if beside else [placement]
        print(text)
        plots.show(placement_picture(curves, shown, epsilon, unit))
        threshold = curve.point(placement, epsilon, unit).noise.threshold
        plots.show(architecture(placement=placement, unit=unit, threshold=threshold, marks=False))

    try:
        import ipywidgets
    except ImportError:
        redraw(start.unit, start.epsilon, start.placement, True)
        return None
    look = {"style": {"description_width": "8em"}, "layout": {"width": "24em"}}
    menus = {
        "unit": ipywidgets.Dropdown(options=units, value=start.unit, description="protects a", **look),
        "epsilon": ipywidgets.Dropdown(
            options=[(f"ε = {e:g}", e) for e in sorted({point.epsilon for point in private})],
            value=start.epsilon,
            description="target",
            **look,
        ),
        "placement": ipywidgets.Dropdown(
            options=list(dict.fromkeys(point.placement for point in private)),
            value=start.placement,
            description="noise is drawn",
            **look,
        ),
        "beside": ipywidgets.Checkbox(value=True, description="beside all others"),
    }
    shown = live.follow(redraw, menus)
    return ipywidgets.VBox([*menus.values(), shown])
