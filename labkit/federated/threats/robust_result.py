"""What each rule lets each attack achieve, beside the anonymity set that it leaves."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.threats.malicious_result import points
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ATTACKS = ("none", "reversed", "backdoor", "adaptive backdoor")
OVER = (
    "seeds: batches, groups, which hospitals attack, and their trigger; the split and the test records stay"
)


@dataclass(frozen=True)
class Arm:
    """One rule against one attack, one seed: accuracy, success of the planted trigger and of another."""

    accuracy: float
    backdoor: float
    control: float


@dataclass(frozen=True, eq=False)
class RobustStudy(Result):
    """Every rule against every attack.

    Attributes
    ----------
    arms : dict of str to dict of str to tuple of Arm
        By rule, then by attack of `ATTACKS`; one per seed.
    mixed : dict of str to int
        Anonymity set of each rule: how many contributions are added up before the server sees anything.
    promises : dict of int to str
        By anonymity set, the statement against the server for noise that is calibrated for the sum of all.
    hospitals, attackers : int
    seeds : tuple of int
    source, profile : str
    """

    arms: dict[str, dict[str, tuple[Arm, ...]]] = field(repr=False)
    mixed: dict[str, int]
    promises: dict[int, str]
    hospitals: int
    attackers: int
    seeds: tuple[int, ...]
    source: str
    profile: str

    def lost(self, rule: str, attack: str) -> stats.Interval:
        """Return the accuracy lost to the plain sum without attack, same seed: mean over seeds, cut to [-1, 1]."""
        pairs = zip(self.arms["sum of all"]["none"], self.arms[rule][attack], strict=True)
        return _cut(stats.mean_interval([honest.accuracy - arm.accuracy for honest, arm in pairs]))

    def planted(self, rule: str, attack: str) -> stats.Interval:
        """Return the trigger's success less another's, beyond the same under this rule without attack: mean over seeds."""
        pairs = zip(self.arms[rule]["none"], self.arms[rule][attack], strict=True)
        gained = [(a.backdoor - a.control) - (h.backdoor - h.control) for h, a in pairs]
        return _cut(stats.mean_interval(gained))

    def worst(self, rule: str) -> stats.Interval:
        """Return what the better of the two backdoors gained against a rule (by its mean)."""
        return max(
            (self.planted(rule, attack) for attack in ATTACKS if "backdoor" in attack),
            key=lambda found: found.estimate,
        )

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "intervals over": OVER,
            "hospitals": self.hospitals,
            "attackers": self.attackers,
            "rules": {
                rule: {
                    "anonymity set": self.mixed[rule],
                    "promise against the server": self.promises[self.mixed[rule]],
                    **{f"accuracy lost, {attack}": self.lost(rule, attack) for attack in ATTACKS},
                    **{f"planted, {a}": self.planted(rule, a) for a in ATTACKS if "backdoor" in a},
                }
                for rule in self.arms
            },
        }

    def summary(self) -> str:
        safest = min(self.arms, key=lambda rule: self.worst(rule).estimate)
        return (
            f"{self.attackers} of {self.hospitals} hospitals attack; least backdoor under {safest} "
            f"({points(self.worst(safest))} points, anonymity set {self.mixed[safest]}), under the sum of all "
            f"{points(self.worst('sum of all'))}; {self.source}; {self.profile}, {len(self.seeds)} seeds"
        )

    def table(self) -> pd.DataFrame:
        """Return one row per rule, in percentage points with intervals of means over seeds."""
        import pandas as pd

        rows = []
        for rule in self.arms:
            row: dict[str, Any] = {"rule": rule, "anonymity set": self.mixed[rule]}
            row["server, if noise is for the sum of all"] = self.promises[self.mixed[rule]]
            row |= {f"accuracy lost: {attack}": points(self.lost(rule, attack)) for attack in ATTACKS[:3]}
            row |= {f"planted: {a}": points(self.planted(rule, a)) for a in ATTACKS if "backdoor" in a}
            rows.append(row)
        return pd.DataFrame(rows).set_index("rule")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each rule's worst backdoor and its accuracy lost to a reversed update against the anonymity set.

        On a given ``ax``: the backdoor alone.
        """
        if ax is None:
            fig, axes = plots.figure(9.6, 4.8, ncols=2)
        else:
            fig, axes = ax.figure, [ax]
        panels = (
            (self.worst, "backdoor planted, points (stronger of two)"),
            (lambda rule: self.lost(rule, "reversed"), "accuracy lost to a reversed update, points"),
        )
        for panel, (measure, label) in zip(axes, panels, strict=False):
            self._draw(panel, measure)
            panel.set_ylabel(label)
        title = f"{self.attackers} malicious of {self.hospitals} hospitals, {len(self.seeds)} seeds; {self.source}; {self.profile}"
        fig.suptitle(textwrap.fill(title, 130), fontsize=9)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        said = "; ".join(
            f"{rule} (set of {self.mixed[rule]}): backdoor {points(self.worst(rule))}, reversed update "
            f"{points(self.lost(rule, 'reversed'))}"
            for rule in self.arms
        )
        return plots.describe(fig, f"What attacks achieve against the size of the anonymity set. {said}.")

    def _draw(self, ax: Axes, measure: Any) -> None:
        sizes = sorted(set(self.mixed.values()))
        for index, rule in enumerate(self.arms):
            found = measure(rule)
            mates = [name for name in self.arms if self.mixed[name] == self.mixed[rule]]
            # Rules of one anonymity set stand side by side.
            x = self.mixed[rule] * 1.09 ** (mates.index(rule) - (len(mates) - 1) / 2)
            reach = np.clip([[found.estimate - found.low], [found.high - found.estimate]], 0, 2)
            ax.errorbar(
                x,
                100 * found.estimate,
                yerr=100 * reach,
                fmt="osD^vPX*"[index % 8],
                color=plots.COLOURS[index % 7],
                capsize=3,
                linestyle="none",
                label=rule,
            )
        ax.axhline(0, color="black", linewidth=0.8, linestyle="-")
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{size}" + (": in clear" if size == 1 else "") for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("hospitals added up before the server sees anything")


def _cut(found: stats.Interval) -> stats.Interval:
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))
