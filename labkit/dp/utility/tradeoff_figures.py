"""Curves of accuracy against ε as pictures: several on the same axes, and what every such picture says below its axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit import plots, stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.dp.utility.tradeoff import Tradeoff

FAR = 20.0  # points below all of a curve at which a line would squash it


def compare(curves: Sequence[Tradeoff]) -> Figure:
    """Draw several curves on the same axes, each with its interval over seeds, its start at ε = 0 and its ceiling.

    Raises
    ------
    ValueError
        If there are no curves, or they differ in data or δ: those are not comparable.
    """
    if not curves or len({(curve.source.split(";")[0], curve.n_test, curve.delta) for curve in curves}) != 1:
        raise ValueError("expected at least one curve, all on the same data and δ: measure them in one run")
    fig, ax = plots.figure(7.6, 5.8)
    told: list[str] = []
    for colour, line, curve in zip(plots.COLOURS, plots.LINES, curves, strict=False):
        bands = [curve.accuracy(epsilon) for epsilon in curve.epsilons]
        means, tops = [100 * b.estimate for b in bands], 100 * stats.mean_interval(curve.ceiling).estimate
        errors = [
            [100 * (b.estimate - b.low) for b in bands],
            [100 * (b.high - b.estimate) for b in bands],  # no share is above 100%
        ]
        ax.errorbar(
            curve.epsilons,
            means,
            yerr=errors,
            color=colour,
            linestyle=line,
            marker="o",
            capsize=3,
            label=curve.pipeline,
        )
        start = 100 * curve.prior_accuracy.estimate
        zero_line(ax, start, min(means), f"{curve.pipeline}, ε = 0 ({curve.known})", colour)
        ax.axhline(
            tops,
            color=colour,
            linestyle=(3 * len(told), (3, 3)),  # each starts elsewhere: lines at one height stay two lines
            linewidth=1.2,
            label=f"{curve.pipeline}, no privacy: {tops:.2f}%",
        )
        points = ", ".join(f"{m:.1f}% at ε = {e:g}" for e, m in zip(curve.epsilons, means, strict=True))
        told.append(f"{curve.pipeline} {points}, {start:.1f}% at ε = 0, {tops:.1f}% without privacy")
    plots.epsilon_axis(ax, f"ε (PLD, δ = {curves[0].delta:g}, Poisson, add/remove); smaller is more private")
    seeds = len(curves[0].at(curves[0].epsilons[0]))
    ax.set(
        ylabel="test accuracy (%)",
        title=f"Mean over {seeds} seeds, 95% interval (Student t), {curves[0].profile}",
    )
    ax.legend(  # below the axes: among several curves no corner is sure to be free
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=2,
        fontsize=8,
        title=short(curves[0].source.split(";")[0]),
        title_fontsize=8,
    )
    clauses = [f"{curve.pipeline}: {clause_of(curve.source)}" for curve in curves if clause_of(curve.source)]
    below(fig, "; ".join(clauses))
    return plots.describe(fig, "Test accuracy against ε on a log axis: " + "; ".join(told) + ".")


def clause_of(source: str) -> str:
    """Return what a source says of its features, after the records' own name."""
    return "; ".join(source.split("; ")[1:])


def below(fig: Figure, text: str) -> None:
    """Write ``text`` in full below the axes: a clause that is cut off in a legend says nothing."""
    fig.supxlabel(textwrap.fill(text, 110), fontsize=7, x=0.01, ha="left")


def zero_line(ax: Axes, start: float, lowest: float, label: str, colour: str) -> None:
    """Draw the line at ε = 0; where it lies far below all else, name it in the legend and leave it off the axis."""
    if lowest - start < FAR:
        ax.axhline(start, color=colour, linestyle=":", linewidth=1.4, label=f"{label}: {start:.2f}%")
    else:
        ax.plot([], [], color=colour, linestyle=":", label=f"{label}: {start:.2f}%, below the axis")


def short(source: str, most: int = 90) -> str:
    return source if len(source) <= most else source[: most - 1] + "…"
