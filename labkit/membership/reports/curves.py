"""ROC curves with bands on logarithmic axes, where the attacks that matter differ: at few false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.membership.reports import operating

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """A ROC on a grid of false-positive rates: ``tpr`` with a pointwise 95% band from ``low`` to ``high``."""

    name: str
    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray


def grid(non_members: int) -> np.ndarray:
    """Return false-positive rates from one false alarm in ``non_members`` to 1, evenly spaced on a log axis."""
    return np.geomspace(1 / non_members, 1.0, POINTS)


def tpr_at(scores: np.ndarray, members: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the largest true-positive rate whose false-positive rate does not exceed each of ``rates``."""
    fpr, tpr = stats.roc(scores[members], scores[~members])
    return tpr[np.searchsorted(fpr, rates + 1e-12, side="right") - 1]


def of_one(name: str, scores: np.ndarray, members: np.ndarray) -> Curve:
    """Return one target's ROC with a pointwise band that counts the chance on both sides: see `operating.band`."""
    inside, outside = operating.sides(scores, members)
    rates = grid(len(outside))
    return Curve(name, rates, *operating.band(inside, outside, rates))


def of_many(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Curve:
    """Return the mean ROC of several targets, given as (scores, members), with a Student t band over targets.

    The band is one for these records: see `labkit.membership.studies.leave_one_out`.
    """
    rates = grid(min(int((~members).sum()) for _, members in pairs))
    curves = np.stack([tpr_at(scores, members, rates) for scores, members in pairs])
    means = [stats.mean_interval(column) for column in curves.T]
    low = np.clip([m.low for m in means], 0, 1)
    high = np.clip([m.high for m in means], 0, 1)
    return Curve(name, rates, curves.mean(0), low, high)


def ceiling_auc(privacy: Any) -> float:
    """Return the largest AUC that any attack can reach under a privacy statement: the area under its ceiling."""
    rates = np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 20_000)])
    return float(np.trapezoid(privacy.roc_ceiling(rates), rates))


def ceiling_name(privacy: Any) -> str:
    """Return the ceiling's name in legends."""
    return f"ceiling at ε = {privacy.epsilon:.2f}"


def figure(
    curves: Sequence[Curve],
    *,
    title: str,
    source: str,
    ceilings: dict[str, Any] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw ROC curves with their bands on log-log axes, with guessing and the ceilings of differential privacy.

    Parameters
    ----------
    ceilings : dict
        Name in the legend to PrivacyStatement.
    ax : Axes, optional
        Where to draw (default: a new figure).
    """
    if ax is None:
        _, ax = plots.figure(6.4, 4.6)
    lowest = min(curve.fpr[0] for curve in curves)
    chance = np.geomspace(lowest, 1, POINTS)
    for curve in curves:
        (line,) = ax.plot(curve.fpr, np.maximum(curve.tpr, lowest), label=curve.name)
        plots.band(
            ax,
            curve.fpr,
            np.maximum(curve.low, lowest),
            np.maximum(curve.high, lowest),
            color=line.get_color(),
        )
    for name, privacy in (ceilings or {}).items():
        ax.plot(chance, privacy.roc_ceiling(chance), color="#000000", linestyle=(0, (1, 1)), label=name)
    ax.plot(chance, chance, color="#777777", linestyle="-", linewidth=1, label="guessing")
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(lowest, 1),
        ylim=(lowest, 1.1),
        xlabel="false-positive rate (non-members called members)",
        ylabel="true-positive rate",
        title=f"{title}\n{source}",
    )
    ax.legend(loc="lower right")
    return plots.describe(ax.figure, _alt(curves, title, source, ceilings or {}))


def _alt(curves: Sequence[Curve], title: str, source: str, ceilings: dict[str, Any]) -> str:
    seen = "; ".join(
        f"{c.name} finds {100 * np.interp(0.01, c.fpr, c.tpr):.2g}% of members at 1% false positives"
        for c in curves
    )
    bound = f" Dotted ceilings: {', '.join(ceilings)}." if ceilings else ""
    return f"Log-log ROC curves, {title}, {source}: {seen}.{bound}"
