"""How many canaries certify how much: ε from below against the number of canaries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.audit import bounds, fdp
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

COUNTS = tuple(int(n) for n in np.unique(np.geomspace(10, 10_000, 13).round(-1)))
SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)
DELTA = 1e-5


def certifiable_curves(accuracy: float, share: float, canaries: int, *, confidence: float = 0.95) -> Figure:
    """Draw what an audit certifies if this share of guesses comes out right, against the number of canaries.

    Parameters
    ----------
    accuracy : float
        Share of the guesses that are right, above 0.5 to certify anything.
    share : float
        Share of the canaries that are guessed at; the others are abstained from.
    canaries : int
        The number to mark on the curves.
    confidence : float

    Raises
    ------
    ValueError
        If a share lies outside [0, 1], or there is not one guess.
    """
    if not (0 <= accuracy <= 1 and 0 < share <= 1 and round(share * canaries) >= 1):
        raise ValueError(
            f"got accuracy={accuracy}, share={share}, canaries={canaries}; expected shares between 0 and 1 and at "
            "least one guess"
        )

    def both(count: int) -> tuple[float, float]:
        guesses = max(1, round(share * count))
        right = math.floor(accuracy * guesses + 1e-9)
        settings = {"delta": DELTA, "canaries": count, "confidence": confidence}
        return bounds.one_run_epsilon(right, guesses, **settings), fdp.one_run_epsilon(
            right, guesses, **settings
        )

    values = np.array([both(count) for count in COUNTS])
    plain, gaussian = both(canaries)
    fig, ax = plots.figure(6.8, 4.0)
    ax.plot(COUNTS, values[:, 0], label="(ε, δ) form: any mechanism")
    ax.plot(COUNTS, values[:, 1], label="f-DP form: a Gaussian mechanism")
    ax.plot([canaries] * 2, [plain, gaussian], "o", color="black", linestyle="none")
    if 0.5 < accuracy < 1:
        limit = math.log(accuracy / (1 - accuracy))
        ax.axhline(
            limit, color="black", linestyle=":", linewidth=1, label=f"log odds of a guess, {limit:.2f}"
        )
    ax.set(xscale="log", xlabel="canaries", ylabel=f"certified ε at δ = {DELTA:g}", ylim=(0, None))
    ax.set_title(
        f"{canaries:,} canaries: ε >= {plain:.2f}, if Gaussian {gaussian:.2f} ({confidence:.0%} confidence)"
    )
    ax.legend()
    return plots.describe(
        fig,
        f"Certified epsilon against the number of canaries when {accuracy:.0%} of guesses about {share:.0%} of them are "
        f"right. Both curves rise. At {canaries:,} canaries: {plain:.2f} for any mechanism, {gaussian:.2f} for a "
        "Gaussian one.",
    )


def audit_explorer() -> ipywidgets.Widget:
    """Return sliders for the number of canaries, the share guessed at, and the share of right guesses."""
    import ipywidgets

    style = {
        "continuous_update": False,
        "style": {"description_width": "12em"},
        "layout": {"width": "34em"},
    }
    sliders = {
        "canaries": ipywidgets.SelectionSlider(
            options=[20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000],
            value=1000,
            description="canaries",
            **style,
        ),
        "share": ipywidgets.SelectionSlider(
            options=SHARES, value=0.2, description="share guessed at", **style
        ),
        "accuracy": ipywidgets.FloatSlider(
            min=0.5, max=1.0, step=0.01, value=0.9, description="share of guesses right", **style
        ),
    }

    def redraw(**settings: float) -> None:
        plots.show(certifiable_curves(**settings))

    return ipywidgets.VBox([*sliders.values(), live.follow(redraw, sliders)])
