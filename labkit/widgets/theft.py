"""How many queries a theft takes: thieves' accuracy and agreement, with a budget to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.watermark.attacks.theft import Theft, plot_thefts
from labkit.widgets import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ipywidgets
    from matplotlib.figure import Figure


def budgets_of(thefts: Mapping[str, Theft]) -> list[int]:
    """Return the budgets at which a thief was trained, smallest first."""
    return sorted({point.queries for theft in thefts.values() for point in theft.curve})


def theft_at(thefts: Mapping[str, Theft], queries: int) -> Figure:
    """Draw thieves against queries and mark one budget: what an interface with that limit would have lost.

    Parameters
    ----------
    thefts : mapping of str to Theft
        See `labkit.watermark.attacks.theft.steal`. Nothing is asked or trained again.
    queries : int
        The budget to mark. Each thief is the best that the limit allows: the last that was trained within it.

    Raises
    ------
    ValueError
        If there is no theft, or none was measured within the budget.
    """
    if not thefts or queries < budgets_of(thefts)[0]:
        least = budgets_of(thefts)[0] if thefts else 0
        raise ValueError(
            f"got {len(thefts)} thefts and queries={queries}; expected at least one theft, and at least {least} queries"
        )
    fig = plot_thefts(dict(thefts))
    within = {
        name: [point for point in theft.curve if point.queries <= queries] for name, theft in thefts.items()
    }
    said = "; ".join(
        f"{name}: agreement {points[-1].agreement.percent(1)}, accuracy {points[-1].accuracy.percent(1)}"
        for name, points in within.items()
        if points
    )
    for ax in fig.axes:
        ax.axvline(queries, color="black", linewidth=0.8, alpha=0.6)
    fig.axes[1].set_title(f"the line: a limit of {queries:,} queries")
    return plots.describe(fig, f"{fig.alt_text} With a limit of {queries:,} queries: {said}.")


def theft_explorer(thefts: Mapping[str, Theft]) -> ipywidgets.Widget:
    """Return a slider for the budget around `theft_at`."""
    import ipywidgets

    sizes = budgets_of(thefts)
    # Between the budgets that were measured, too: a limit just short of one buys no more than the one before it.
    steps = sorted({*sizes, *(int(size) for size in np.geomspace(sizes[0], sizes[-1], 9).round(-2))})
    options = [(f"{size:,}", size) for size in steps if sizes[0] <= size <= sizes[-1]]
    slider = ipywidgets.SelectionSlider(
        options=options,
        value=sizes[-1],
        description="query budget",
        continuous_update=False,
        style={"description_width": "8em"},
        layout={"width": "34em"},
    )

    def redraw(queries: int) -> None:
        plots.show(theft_at(thefts, queries))

    return ipywidgets.VBox([slider, live.follow(redraw, {"queries": slider})])
