"""What came of leaks: how many were traced, and whether anybody innocent was accused; see `labkit.federated.marks.leak_study`.

Shares are of draws: hospitals of one draw, and the leaks of one draw, share words and places, so they count once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.marks.titles import entitle
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVER = "independent draws of code words, places and leakers"


@dataclass(frozen=True)
class Traced:
    """What tracing made of one way to leak.

    Attributes
    ----------
    leakers : int
        Hospitals in each leak.
    any, all : Interval
        Share of draws in which a leaker was accused, and in which all of them were.
    innocents : Interval
        Share of draws in which anybody innocent was accused.
    cost : Interval
        Accuracy of what turned up minus that of the global model, in points, on the pooled test records; over
        models.
    follows : bool
        Whether it was made from the weights of the rounds, not from a copy.
    """

    leakers: int
    any: stats.Interval
    all: stats.Interval
    innocents: stats.Interval
    cost: stats.Interval
    follows: bool


@dataclass(frozen=True, eq=False)
class LeakReport(Result):
    """Leaks and what was traced: see `labkit.federated.marks.leak_study.study_leaks`.

    Attributes
    ----------
    traced : dict of str to Traced
    innocents : Interval
        Share of draws in which anybody innocent was accused by any leak that the code is long enough for.
    fresh : Interval
        The same for one leak a draw, over ``draws`` draws: see `labkit.federated.marks.innocents`.
    copies : Interval
        Accuracy of copies minus that of the global model, in points; over models.
    trials : int
        Leaks of each kind: draws of code words, places and leakers, on ``models`` models in turn.
    draws, models, colluders, places : int
    false_accusation : float
        Chernoff's bound on the chance of accusing anybody innocent, for one leaked copy.
    source, profile : str
    seed : int
    """

    traced: dict[str, Traced]
    innocents: stats.Interval
    fresh: stats.Interval
    copies: stats.Interval
    trials: int
    draws: int
    models: int
    colluders: int
    places: int
    false_accusation: float
    source: str
    profile: str
    seed: int

    def numbers(self) -> dict[str, Any]:
        names = ("leakers", "any", "all", "innocents", "cost", "follows")
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "draws, one leak of each kind": self.trials,
            "draws, one leak": self.draws,
            "intervals are over": f"{OVER}; of accuracy: models",
            "models": self.models,
            "code length": self.places,
            "colluders": self.colluders,
            "false accusation at most, a copy (Chernoff)": self.false_accusation,
            "draws in which any leak accused an innocent": self.innocents,
            "draws in which one leak accused an innocent": self.fresh,
            "copies' accuracy, points": self.copies,
            "leaks": {n: {x: getattr(t, x) for x in names} for n, t in self.traced.items()},
        }

    @property
    def follower(self) -> str:
        """What became of leaks that were made from the rounds, in words."""
        found = [t.any.percent(1) for t in self.traced.values() if t.follows]
        if not found:
            return "not tried: hospitals that rebuild the model from the rounds, and carry no word to trace"
        return (
            f"whoever took part and rebuilds the model from the rounds is traced in {' and '.join(found)}: tracing "
            "protects copies only from recipients who did not follow the training"
        )

    def summary(self) -> str:
        return (
            f"anybody innocent accused: in {self.fresh.percent(3)} of {self.draws:,} draws of one leak, in "
            f"{self.innocents.percent(1)} of {self.trials} draws by any of the leaks by up to {self.colluders} (Chernoff's "
            f"bound: {100 * self.false_accusation:g}% a leak, whatever was done to the copy); {self.follower}; copies cost "
            f"{self.copies} points over {self.models} models; code of {self.places} places; 95% intervals of shares are over {OVER}; "
            f"{self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per way to leak; shares are of draws."""
        import pandas as pd

        rows = [
            {
                "leak": name,
                "leakers": t.leakers,
                "made from": "the rounds" if t.follows else "copies",
                "a leaker accused": t.any.percent(1),
                "all leakers accused": t.all.percent(1),
                "an innocent accused": t.innocents.percent(1),
                "accuracy, points (over models)": str(t.cost),
            }
            for name, t in self.traced.items()
        ]
        return pd.DataFrame(rows).set_index("leak")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw, for each way to leak, the share of draws traced to all leakers; open circles use no copy."""
        fig, ax = plots.figure(6.8, 0.9 + 0.32 * len(self.traced)) if ax is None else (ax.figure, ax)
        names = list(self.traced)
        for at, name in enumerate(names):
            found = self.traced[name].all
            colour = plots.COLOURS[self.traced[name].leakers - 1]
            reach = 100 * np.array([[found.estimate - found.low], [found.high - found.estimate]])
            fill = "none" if self.traced[name].follows else "full"
            ax.errorbar(
                100 * found.estimate, at, xerr=reach, fmt="o", capsize=3, color=colour, fillstyle=fill
            )
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlim(-3, 103)
        ax.set_xlabel("traced to all leakers, % of draws (95% interval over draws)")
        note = (
            "; open circle: made from the rounds, without a copy"
            if any(t.follows for t in self.traced.values())
            else ""
        )
        entitle(ax, f"{self.trials} leaks of each kind, models: {self.models}{note}", self.source)
        said = "; ".join(f"{name} {t.all.percent(1)}" for name, t in self.traced.items())
        return plots.describe(fig, f"Share of draws traced to all who leaked: {said}. {self.follower}.")
