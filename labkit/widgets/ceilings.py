"""Which ε would have forbidden an attack: measured ROC curves under the ceiling of differential privacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.dp.accounting import ceiling
from labkit.membership.reports import curves
from labkit.widgets import live

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

DELTA = 1e-5
RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class _Promise:
    """(ε, δ), with the one method that `curves.figure` asks of a privacy statement."""

    epsilon: float
    delta: float

    def roc_ceiling(self, fpr: np.ndarray) -> np.ndarray:
        return ceiling.roc_ceiling(fpr, self.epsilon, self.delta)


def attack_under_ceiling(
    measured: Sequence[curves.Curve], epsilon: float, rate: float, *, source: str, delta: float = DELTA
) -> Figure:
    """Draw measured ROC curves with the ceiling of (ε, δ)-DP, and say in the title who breaks it at one rate.

    A curve above the ceiling shows that the model it was measured on is not (ε, δ)-DP; one below it shows nothing.

    Parameters
    ----------
    measured : sequence of Curve
        From ``report.curve()`` or ``leave_one_out(...).curve()``.
    epsilon, delta : float
        Of the ceiling.
    rate : float
        False-positive rate to read off.
    source : str
        Where the records came from.

    Raises
    ------
    ValueError
        If there is no curve, or ε, δ or the rate are out of range.
    """
    if not measured or not 0 < rate < 1:
        raise ValueError(
            f"got {len(measured)} curves and rate={rate}; expected at least one curve and a rate between 0 and 1"
        )
    allowed = float(ceiling.roc_ceiling(np.array([rate]), epsilon, delta)[0])
    # The lower end of the band counts: what chance alone could have lifted above the ceiling proves nothing.
    breaking = [c.name for c in measured if np.interp(rate, c.fpr, c.low) > allowed]
    verdict = f"forbids {', '.join(breaking)}" if breaking else "forbids none of these"
    title = f"ε = {epsilon:g} allows a TPR of {100 * allowed:.3g}% at {100 * rate:g}% FPR: it {verdict}"
    promise = {f"ceiling at ε = {epsilon:g}, δ = {delta:g}": _Promise(epsilon, delta)}
    fig = curves.figure(measured, title=title, source=source, ceilings=promise)
    fig.axes[0].axvline(rate, color="black", linestyle=":", linewidth=1)
    return plots.describe(fig, f"{title}. {fig.alt_text}")


def ceiling_explorer(measured: Sequence[curves.Curve], *, source: str) -> ipywidgets.Widget:
    """Return sliders for ε and for the false-positive rate to read off."""
    import ipywidgets

    style = {
        "continuous_update": False,
        "style": {"description_width": "12em"},
        "layout": {"width": "34em"},
    }
    sliders = {
        "epsilon": ipywidgets.FloatSlider(
            min=0.25, max=10, step=0.25, value=2, description="ε of the ceiling", **style
        ),
        "rate": ipywidgets.SelectionSlider(
            options=[(f"{100 * rate:g}%", rate) for rate in RATES],
            value=0.01,
            description="false-positive rate",
            **style,
        ),
    }

    def redraw(**settings: float) -> None:
        plots.show(attack_under_ceiling(measured, source=source, **settings))

    return ipywidgets.VBox([*sliders.values(), live.follow(redraw, sliders)])
