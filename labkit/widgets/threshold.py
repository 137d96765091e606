"""Move the threshold of an attack: who is accused, where that is on the ROC curve, and how many of the accused are members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots, stats
from labkit.membership.reports import intervals
from labkit.membership.reports.intervals import Operating
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60


def operating(members: np.ndarray, others: np.ndarray, threshold: float) -> Operating:
    """Return both rates of "score >= threshold", with their Clopper-Pearson intervals.

    Raises
    ------
    ValueError
        If either side is empty, or a score or the threshold is NaN or infinite.
    """
    members, others = np.asarray(members, dtype=float), np.asarray(others, dtype=float)
    both = np.concatenate([members.ravel(), others.ravel(), [threshold]])
    if members.size == 0 or others.size == 0 or not np.isfinite(both).all():
        raise ValueError(
            f"got {members.size} members, {others.size} others and threshold {threshold}; expected at least one score "
            "on each side and finite numbers"
        )
    hits, alarms = int((members >= threshold).sum()), int((others >= threshold).sum())
    return Operating(
        threshold, stats.clopper_pearson(hits, members.size), stats.clopper_pearson(alarms, others.size)
    )


def threshold_figure(
    members: np.ndarray, others: np.ndarray, *, threshold: float, prior: float, source: str
) -> Figure:
    """Draw the scores of both sides with a threshold between them, and its point on the log-log ROC curve.

    Parameters
    ----------
    members, others : array of shape (m,), (n,)
        Scores, larger for likelier members.
    threshold : float
        Records that score at least this are accused.
    prior : float
        Share of members among all records that might be accused, for the precision.
    source : str
        Where the scores came from.

    Raises
    ------
    ValueError
        If scores or threshold are not finite, a side is empty, or the prior is not between 0 and 1.
    """
    point = operating(members, others, threshold)
    precision = intervals.precision(point, prior)
    fig, (left, right) = plots.figure(9.6, 4.0, ncols=2)
    _scores(left, members, others, threshold)
    _curve(right, members, others, point)
    accused = point.tpr.estimate + point.fpr.estimate > 0
    said = f"precision {precision.percent(1)}" if accused else "nobody is accused"
    fig.suptitle(
        f"At a prior of {100 * prior:g}%: {said}\n{source}", x=0.01, ha="left", fontsize=11
    )  # 90%: see intervals.precision
    return plots.describe(
        fig,
        f"Left: histograms of the scores of {len(members):,} members and {len(others):,} others, threshold "
        f"{threshold:.3g}. Right: the log-log ROC curve, at this threshold {100 * point.tpr.estimate:.2f}% of members "
        f"and {100 * point.fpr.estimate:.2f}% of others are accused; at a prior of {100 * prior:g}% {said}.",
    )


def _scores(ax: Axes, members: np.ndarray, others: np.ndarray, threshold: float) -> None:
    edges = np.linspace(*np.quantile(np.concatenate([members, others]), [0, 1]), BINS + 1)
    if edges[0] == edges[-1]:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    for scores, name, style in ((members, "members", "-"), (others, "others", "--")):
        shown = {"histtype": "step", "linestyle": style, "linewidth": 1.8, "label": name}
        ax.hist(scores, edges, weights=np.full(len(scores), 100 / len(scores)), **shown)
    ax.axvline(threshold, color="black", linewidth=1)
    ax.axvspan(threshold, max(threshold, edges[-1]), color="black", alpha=0.08, linewidth=0, label="accused")
    ax.set(yscale="log", xlabel="score", ylabel="share of the records (%)", title="Who is accused")
    ax.legend()


def _curve(ax: Axes, members: np.ndarray, others: np.ndarray, point: Operating) -> None:
    fpr, tpr = stats.roc(members, others)
    floor = 0.5 / len(others)  # a log axis has no zero: a rate of 0 sits at the left edge
    ax.plot(np.maximum(fpr, floor), np.maximum(tpr, floor), label="the attack")
    ax.plot([floor, 1], [floor, 1], color="#777777", linestyle=":", linewidth=1, label="guessing")
    at = max(point.fpr.estimate, floor), max(point.tpr.estimate, floor)
    ax.errorbar(
        *at,
        xerr=[[at[0] - max(point.fpr.low, floor)], [point.fpr.high - at[0]]],
        yerr=[[at[1] - max(point.tpr.low, floor)], [max(point.tpr.high - at[1], 0)]],
        fmt="o",
        color="black",
        label="this threshold, 95%",
    )
    ax.set(xscale="log", yscale="log", xlim=(floor, 1.1), ylim=(floor, 1.2))
    ax.set(xlabel="false-positive rate", ylabel="true-positive rate")
    ax.set_title(f"{100 * point.tpr.estimate:.2f}% caught at {100 * point.fpr.estimate:.2f}% false alarms")
    ax.legend(loc="lower right")


def threshold_explorer(members: np.ndarray, others: np.ndarray, *, source: str) -> ipywidgets.Widget:
    """Return sliders for the threshold and the prior, around `threshold_figure`."""
    import ipywidgets

    low, high = np.quantile(np.concatenate([members, others]), [0, 1])
    operating(members, others, float(high))  # refuse bad scores before a slider is shown
    style = {
        "continuous_update": False,
        "style": {"description_width": "10em"},
        "layout": {"width": "36em"},
    }
    sliders = {
        "threshold": ipywidgets.FloatSlider(
            min=float(low),
            max=float(high),
            step=max(float(high - low), 1e-9) / 200,
            value=float(np.quantile(others, 0.9)),
            description="threshold",
            **style,
        ),
        "prior": ipywidgets.SelectionSlider(
            options=[(f"{100 * p:g}%", p) for p in (0.001, 0.01, 0.1, 0.5)],
            value=0.5,
            description="prior of members",
            **style,
        ),
    }

    def redraw(**settings: float) -> None:
        plots.show(threshold_figure(members, others, source=source, **settings))

    return ipywidgets.VBox([*sliders.values(), live.follow(redraw, sliders)])
