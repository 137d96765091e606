"""Accuracy and marks from year to year, under each policy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.threats.malicious_result import points
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEVER = "never"
POLICIES = (NEVER, "frozen", "once", "re-mark", "always")
SAID = {
    NEVER: "trained every year, no marks",
    "frozen": "trained and marked in the first year only",
    "once": "trained every year, marked in the first",
    "re-mark": "trained every year, re-marked by the policy",
    "always": "trained and marked every year",
}


@dataclass(frozen=True)
class Year:
    """One model at the end of a year.

    Attributes
    ----------
    accuracy : float
        On all hospitals' test records as measured this year.
    per_hospital : dict of str to float
    strengths : dict of str to float
        Of each hospital's bits: mean 0 and variance 1 for a key that the model had no part in.
    marked : bool
        Whether this year's training pulled for marks.
    """

    accuracy: float
    per_hospital: dict[str, float]
    strengths: dict[str, float]
    marked: bool

    @property
    def margin(self) -> float:
        """Decades between the weakest mark's p-value (a bound) and the level at which it counts; negative: lost."""
        return min(self.margins.values())

    @property
    def margins(self) -> dict[str, float]:
        """The same for every hospital's mark."""
        from labkit.federated.marks.bits import chance
        from labkit.federated.marks.verification import ALPHA

        return {name: math.log10(ALPHA / chance(z)) for name, z in self.strengths.items()}


@dataclass(frozen=True, eq=False)
class DriftStudy(Result):
    """What years do to accuracy and marks.

    Attributes
    ----------
    runs : dict of str to tuple of tuple of Year
        By policy of `POLICIES`, by seed, by year (from 0).
    growth : float
        Yearly step of the devices, in standard deviations between sites.
    least_margin : float
        Decades below which the policy re-marks.
    seeds : tuple of int
    source, profile : str
    """

    runs: dict[str, tuple[tuple[Year, ...], ...]] = field(repr=False)
    growth: float
    least_margin: float
    seeds: tuple[int, ...]
    source: str
    profile: str

    @property
    def years(self) -> int:
        """Years after the first."""
        return len(self.runs[NEVER][0]) - 1

    def accuracy(self, policy: str, year: int) -> stats.Interval:
        """Return the pooled accuracy in a year: mean over seeds."""
        return stats.mean_share([run[year].accuracy for run in self.runs[policy]])

    def weakest(self, policy: str) -> stats.Interval:
        """Return the accuracy at the worst hospital in the last year: mean over seeds."""
        return stats.mean_share([min(run[-1].per_hospital.values()) for run in self.runs[policy]])

    def aged(self, policy: str) -> stats.Interval:
        """Return the accuracy lost from the first year to the last, on each year's records: mean over seeds."""
        return stats.mean_interval([run[0].accuracy - run[-1].accuracy for run in self.runs[policy]])

    def strength(self, policy: str, year: int) -> stats.Interval:
        """Return the mean strength of the hospitals' marks in a year: mean over seeds."""
        return stats.mean_interval([np.mean([*run[year].strengths.values()]) for run in self.runs[policy]])

    def margin(self, policy: str, year: int) -> stats.Interval:
        """Return the weakest mark's margin in a year, in decades: mean over seeds."""
        return stats.mean_interval([run[year].margin for run in self.runs[policy]])

    def lacking(self, policy: str) -> stats.Interval:
        """Return by how many decades the weakest mark falls short of proof in the last year: mean over seeds."""
        return stats.mean_interval([-run[-1].margin for run in self.runs[policy]])

    def worn(self, policy: str) -> stats.Interval:
        """Return the share of runs in which some mark no longer verifies in the last year, Clopper-Pearson over runs."""
        runs = self.runs[policy]
        return stats.clopper_pearson(sum(run[-1].margin < 0 for run in runs), len(runs))

    def cost(self, policy: str) -> stats.Interval:
        """Return the accuracy lost to never marking, the mean over years, same seed: mean over seeds."""
        pairs = zip(self.runs[NEVER], self.runs[policy], strict=True)
        return stats.mean_interval(
            [np.mean([a.accuracy - b.accuracy for a, b in zip(one, two, strict=True)]) for one, two in pairs]
        )

    def marked(self, policy: str) -> float:
        """Return in how many of the later years training pulled for marks: mean over seeds."""
        return float(np.mean([sum(year.marked for year in run[1:]) for run in self.runs[policy]]))

    def numbers(self) -> dict[str, Any]:
        last = range(self.years + 1)
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "years": self.years,
            "re-marked below (decades)": self.least_margin,
            "policies": {
                policy: {
                    "accuracy by year": [self.accuracy(policy, year) for year in last],
                    "weakest margin by year": [self.margin(policy, year) for year in last],
                    "worst hospital, last year": self.weakest(policy),
                    "runs with a lost mark, last year": self.worn(policy),
                    "later years with marks": self.marked(policy),
                    "accuracy lost to never marking": "differs in training too"
                    if policy == "frozen"
                    else self.cost(policy),
                }
                for policy in self.runs
            },
        }

    def summary(self) -> str:
        return (
            f"after {self.years} years the weakest mark's margin is {self.margin('once', self.years)} decades if marked once, "
            f"{self.margin('re-mark', self.years)} if re-marked (in {self.marked('re-mark'):.1f} years); {self.source}; "
            f"{self.profile}, {len(self.seeds)} seeds"
        )

    def table(self) -> pd.DataFrame:
        """Return one row per policy; intervals are of means over seeds."""
        import pandas as pd

        rows = [
            {
                "policy": SAID[policy],
                "accuracy, first year": self.accuracy(policy, 0).percent(1),
                "accuracy, last year": self.accuracy(policy, self.years).percent(1),
                "worst hospital, last year": self.weakest(policy).percent(1),
                "runs with a lost mark": "not marked" if policy == NEVER else self.worn(policy).percent(0),
                "later years with marks": f"{self.marked(policy):.1f} of {self.years}",
                # A model that is not trained on differs in more than its marks.
                "points lost to never marking": "" if policy == "frozen" else points(self.cost(policy)),
            }
            for policy in self.runs
        ]
        return pd.DataFrame(rows).set_index("policy")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw accuracy and the weakest mark's margin by year; on a given ``ax`` the margin alone."""
        if ax is None:
            fig, (left, right) = plots.figure(9.6, 4.4, ncols=2)
            self._lines(left, self.accuracy, 100.0, POLICIES)
            left.set_ylabel("accuracy on the year's test records, %")
        else:
            fig, right = ax.figure, ax
        self._lines(right, self.margin, 1.0, POLICIES[1:])
        title = f"{self.source}; {self.profile}, {len(self.seeds)} seeds (bands: 95%)"
        (fig.suptitle if ax is None else ax.set_title)(
            textwrap.fill(title, 130 if ax is None else 60), fontsize=9
        )
        right.axhline(0, color="black", linewidth=1, linestyle="-")
        right.axhline(self.least_margin, color="grey", linewidth=1, linestyle=":")
        right.annotate(
            "re-mark below", (0, self.least_margin), (2, 3), textcoords="offset points", fontsize=8
        )
        right.annotate("no proof below", (0, 0), (2, 3), textcoords="offset points", fontsize=8)
        right.set_ylabel("margin of the weakest mark, decades of p")
        fig.legend(
            *(left if ax is None else right).get_legend_handles_labels(), loc="outside lower center", ncols=2
        )
        said = "; ".join(
            f"{SAID[p]}: accuracy {self.accuracy(p, self.years).percent(1)}, margin {self.margin(p, self.years)}"
            for p in self.runs
        )
        return plots.describe(
            fig, f"Accuracy and margin of marks over {self.years} years. In the last: {said}."
        )

    def _lines(
        self, ax: Axes, measure: Callable[[str, int], stats.Interval], unit: float, policies: tuple[str, ...]
    ) -> None:
        years = list(range(self.years + 1))
        for policy in policies:
            found = [measure(policy, year) for year in years]
            look = {"color": plots.COLOURS[POLICIES.index(policy)]}
            line = plots.LINES[POLICIES.index(policy)]
            ax.plot(years, [unit * f.estimate for f in found], linestyle=line, label=SAID[policy], **look)
            if len(self.seeds) > 1:
                plots.band(
                    ax,
                    years,
                    [unit * f.low for f in found],
                    [unit * f.high for f in found],
                    alpha=0.1,
                    **look,
                )
        ax.set_xlabel(f"year (devices move {self.growth:g} site deviations a year)")
