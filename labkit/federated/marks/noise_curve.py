"""What `labkit.federated.marks.privacy_curve` returns: marks at several noise levels, under their ceilings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.marks.enrolment import MarkError
from labkit.federated.marks.titles import entitle
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.dp.accounting.statement import PrivacyStatement


@dataclass(frozen=True, eq=False)
class Point:
    """One noise level and strength.

    Attributes
    ----------
    epsilon : float
        Asked for; infinity without noise.
    strength : float
        Of the pull.
    statement : PrivacyStatement or None
    ranks : ndarray of shape [federations, hospitals]
        p-value of each mark among redrawn keys, in the same model.
    z : Interval
        Strength of marks, mean over federations.
    rate : Interval
        Share of marks found at the curve's false positive rate, mean over federations.
    ceiling, loose_ceiling : float or None
        Most that this share can be in expectation, by the trade-off curve and by (ε, δ) alone; None where the unit of
        privacy is a patient, or there is no noise.
    accuracy, cost : Interval
        Test accuracy of marked models, and what marks change about it on the same records with the same noise, in
        points; means over federations.
    """

    epsilon: float
    strength: float
    statement: PrivacyStatement | None
    ranks: np.ndarray = field(repr=False)
    z: stats.Interval
    rate: stats.Interval
    ceiling: float | None
    loose_ceiling: float | None
    accuracy: stats.Interval
    cost: stats.Interval


@dataclass(frozen=True, eq=False)
class PrivacyCurve(Result):
    """Marks at several noise levels: see `privacy_curve`.

    Attributes
    ----------
    points : tuple of Point
    unit : {"patient", "hospital"}
    fpr : float
    redraws, federations : int
    differs : str
        What else differs between the points.
    source, profile : str
    seed : int
    """

    points: tuple[Point, ...]
    unit: str
    fpr: float
    redraws: int
    federations: int
    differs: str
    source: str
    profile: str
    seed: int

    def numbers(self) -> dict[str, Any]:
        return {
            "unit of privacy": self.unit,
            "false positive rate": self.fpr,
            "redrawn keys": self.redraws,
            "federations": self.federations,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "what else differs": self.differs,
            "points": [
                {
                    "statement": "no promise" if p.statement is None else str(p.statement),
                    "strength": p.strength,
                    "z": p.z,
                    "found": p.rate,
                    "ceiling (trade-off curve)": p.ceiling,
                    "ceiling (ε, δ)": p.loose_ceiling,
                    "accuracy": p.accuracy,
                    "accuracy, marked - unmarked, points": p.cost,
                }
                for p in self.points
            ],
        }

    def summary(self) -> str:
        return (
            f"marks under noise, unit of privacy: {self.unit}; found at a false positive rate of {self.fpr:g} among "
            f"{self.redraws:,} redrawn keys; intervals are over {self.federations} federations (split, keys and noise); "
            f"{self.differs}; {self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per noise level and strength."""
        import pandas as pd

        rows = [
            {
                "promise": f"none (unit {self.unit})"
                if p.statement is None
                else f"{p.statement}, unit {self.unit}",
                "strength": p.strength,
                "z": str(p.z),
                f"found at {self.fpr:g}": p.rate.percent(0),
                "ceiling": "none" if p.ceiling is None else f"{100 * p.ceiling:.1f}%",
                "accuracy": p.accuracy.percent(1),
                "marks' cost, points": str(p.cost),
            }
            for p in self.points
        ]
        return pd.DataFrame(rows).set_index("promise")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the share of marks found against ε, with the ceiling where there is one."""
        fig, ax = plots.figure(6.6, 4.0) if ax is None else (ax.figure, ax)
        private = [p for p in self.points if np.isfinite(p.epsilon)]
        for at, strength in enumerate(sorted({p.strength for p in private})):
            own = sorted((p for p in private if p.strength == strength), key=lambda p: p.epsilon)
            x = [p.epsilon for p in own]
            reach = np.array([[p.rate.estimate - p.rate.low, p.rate.high - p.rate.estimate] for p in own]).T
            label = f"strength {strength:g}"
            look = {"color": plots.COLOURS[at], "linestyle": plots.LINES[at]}
            ax.errorbar(
                x, [p.rate.estimate for p in own], yerr=reach, marker="o", capsize=3, label=label, **look
            )
        own = sorted(
            {p.epsilon: p for p in private if p.ceiling is not None}.values(), key=lambda p: p.epsilon
        )
        if own:
            x = [p.epsilon for p in own]
            ax.plot(x, [p.ceiling for p in own], "k--", label="ceiling, trade-off curve")
            ax.plot(x, [p.loose_ceiling for p in own], "k:", label="ceiling, (ε, δ) alone")
        plots.epsilon_axis(ax, f"ε (PLD, unit: {self.unit}, others in the table)")
        ax.set_ylim(-0.03, 1.03)
        ax.set_ylabel(f"share of marks found at FPR {self.fpr:g}")
        entitle(ax, f"{self.federations} federations a point; intervals over them", self.source)
        ax.legend(fontsize=8)
        said = "; ".join(
            f"ε {p.epsilon:g}, strength {p.strength:g}: {p.rate.percent(0)}"
            + ("" if p.ceiling is None else f", ceiling {100 * p.ceiling:.0f}%")
            for p in private
        )
        return plots.describe(fig, f"Share of marks found against ε, unit {self.unit}: {said}.")

    def plot_roc(self, epsilon: float, ax: Axes | None = None) -> Figure:
        """Draw found marks against false positives at one noise level, under both ceilings; bands over federations."""
        fig, ax = plots.figure(5.4, 4.4) if ax is None else (ax.figure, ax)
        rates = np.geomspace(1 / (self.redraws + 1), 1, 60)
        own = [p for p in self.points if p.epsilon == epsilon]
        if not own:
            known = sorted({p.epsilon for p in self.points})
            raise MarkError(f"epsilon is {epsilon}; expected one of {known}")
        for at, p in enumerate(own):
            found = [stats.mean_share((p.ranks <= rate).mean(1)) for rate in rates]
            look = {"color": plots.COLOURS[at], "linestyle": plots.LINES[at]}
            ax.plot(rates, [f.estimate for f in found], label=f"strength {p.strength:g}", **look)
            plots.band(ax, rates, [f.low for f in found], [f.high for f in found], color=plots.COLOURS[at])
        if self.unit == "hospital" and own[0].statement is not None:
            ax.plot(rates, own[0].statement.tradeoff_curve(rates), "k--", label="ceiling, trade-off curve")
            ax.plot(rates, own[0].statement.roc_ceiling(rates), "k:", label="ceiling, (ε, δ) alone")
        ax.plot(rates, rates, color="#999999", linestyle="-", linewidth=1, label="chance")
        ax.set_xscale("log")
        ax.set_xlabel("false positive rate (redrawn keys)")
        ax.set_ylabel("share of marks found")
        promise = "no noise" if own[0].statement is None else str(own[0].statement).split(",")[0]
        entitle(ax, f"unit: {self.unit}; {promise}", self.source)
        ax.legend(fontsize=8)
        said = "; ".join(f"strength {p.strength:g}: {p.rate.percent(0)} at FPR {self.fpr:g}" for p in own)
        return plots.describe(
            fig, f"Share of marks found against the false positive rate, {promise}. {said}."
        )
