"""What malicious hospitals did: every run beside the honest one of the same seed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HONEST = "none: all honest"
OVER = (
    "seeds: batches, noise, which hospital attacks, and its trigger; hospitals' records and test records stay"
)


@dataclass(frozen=True)
class Measured:
    """One model, measured.

    Attributes
    ----------
    accuracy : float
        On the pooled test records.
    backdoor, control : float
        Success of the attacker's trigger, and of a trigger that nobody planted.
    strengths : dict of str to float
        Of each marked hospital's bits: mean 0 and variance 1 for a key that the model had no part in.
    attacker : str
    victim : str
        Whose mark is worn where the attack wears one.
    """

    accuracy: float
    backdoor: float
    control: float
    strengths: dict[str, float]
    attacker: str
    victim: str

    def verifies(self, name: str) -> bool:
        """Return whether a mark counts as found, by the bound alone at the level of `labkit.federated.marks.verify`."""
        from labkit.federated.marks.bits import chance
        from labkit.federated.marks.verification import ALPHA

        return chance(self.strengths[name]) <= ALPHA

    @property
    def others(self) -> float:
        """Mean strength of the marks of all but the attacker."""
        return float(np.mean([z for name, z in self.strengths.items() if name != self.attacker]))


@dataclass(frozen=True, eq=False)
class MaliciousStudy(Result):
    """What each attack did, seed by seed.

    Attributes
    ----------
    runs : dict of str to tuple of Measured
        By attack, one per seed; `HONEST` is the federation without an attacker.
    foreign : Interval or None
        Share of keys drawn by somebody else that pass as a hospital's own in the honest models.
    seeds : tuple of int
    bound : float
        The norm bound that the adaptive attacker stays under, fixed by a pilot run.
    target : str
        The class that triggers call up.
    source, profile : str
    """

    runs: dict[str, tuple[Measured, ...]] = field(repr=False)
    foreign: stats.Interval | None
    seeds: tuple[int, ...]
    bound: float
    target: str
    source: str
    profile: str

    def lost(self, attack: str) -> stats.Interval:
        """Return the accuracy lost to the honest federation of the same seed: mean over seeds, cut to [-1, 1]."""
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        found = stats.mean_interval([honest.accuracy - run.accuracy for honest, run in pairs])
        return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))

    def planted(self, attack: str) -> stats.Interval:
        """Return what planting gained: the trigger's success less an unplanted one's, beyond the same in the honest run.

        A pattern can call up a class by itself, and a ruined model answers anything with it: both are taken out. The
        mean over seeds, cut to [-1, 1].
        """
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        gained = [(run.backdoor - run.control) - (honest.backdoor - honest.control) for honest, run in pairs]
        found = stats.mean_interval(gained)
        return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))

    def others_lost(self, attack: str) -> stats.Interval:
        """Return the share of the other marks' strength that is lost to the honest run of the same seed: mean over seeds."""
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        return stats.mean_interval([1 - run.others / honest.others for honest, run in pairs])

    def kept(self, attack: str, whose: str) -> stats.Interval:
        """Return the strength of one mark, "attacker" or "victim", over that in the honest run: mean over seeds."""
        pairs = zip(self.runs[HONEST], self.runs[attack], strict=True)
        names = [getattr(run, whose) for run in self.runs[attack]]
        return stats.mean_interval(
            [r.strengths[n] / h.strengths[n] for (h, r), n in zip(pairs, names, strict=True)]
        )

    def verified(self, attack: str, whose: str = "attacker") -> stats.Interval:
        """Return the share of runs in which one's mark verifies, with its Clopper-Pearson interval over runs."""
        found = self.runs[attack]
        return stats.clopper_pearson(sum(run.verifies(getattr(run, whose)) for run in found), len(found))

    @property
    def marked(self) -> float:
        """Mean share of marks that verify in the honest runs: where it is low, there is nothing to attack."""
        return float(np.mean([[run.verifies(name) for name in run.strengths] for run in self.runs[HONEST]]))

    def others_verified(self, attack: str) -> float:
        """Return the mean share of the other hospitals' marks that verify."""
        return float(np.mean([_others(run) for run in self.runs[attack]]))

    def numbers(self) -> dict[str, Any]:
        rows = {
            title: {
                "accuracy": stats.mean_share([run.accuracy for run in runs]),
                "accuracy lost": self.lost(title),
                "trigger": float(np.mean([run.backdoor for run in runs])),
                "other trigger": float(np.mean([run.control for run in runs])),
                "planted": self.planted(title),
                "other marks verified": self.others_verified(title) if runs[0].strengths else "no marks",
                "own mark verified": self.verified(title) if runs[0].strengths else "no marks",
            }
            for title, runs in self.runs.items()
        }
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "intervals over": OVER,
            "norm bound": self.bound,
            "target of triggers": self.target,
            "foreign keys that pass": "no marks" if self.foreign is None else self.foreign,
            "attacks": rows,
        }

    def summary(self) -> str:
        worst = max((t for t in self.runs if t != HONEST), key=lambda t: self.lost(t).estimate)
        planted = max((t for t in self.runs if t != HONEST), key=lambda t: self.planted(t).estimate)
        return (
            f"{len(self.runs) - 1} attacks by one of the hospitals; most accuracy lost: {worst}, "
            f"{points(self.lost(worst))}; best backdoor: {planted}, {points(self.planted(planted))}; {self.source}; "
            f"{self.profile}, {len(self.seeds)} seeds"
        )

    def table(self) -> pd.DataFrame:
        """Return one row per attack; intervals are of means over seeds, paired with the honest run."""
        import pandas as pd

        rows = []
        for title, runs in self.runs.items():
            row = {"attack": title, "accuracy": f"{100 * np.mean([run.accuracy for run in runs]):.1f}%"}
            row["accuracy lost"] = "" if title == HONEST else points(self.lost(title))
            row["trigger"] = f"{100 * np.mean([run.backdoor for run in runs]):.0f}%"
            row["other trigger"] = f"{100 * np.mean([run.control for run in runs]):.0f}%"
            row["planted"] = "" if title == HONEST else points(self.planted(title))
            if runs[0].strengths:
                own = sum(run.verifies(run.attacker) for run in runs)
                row["others' marks verified"] = f"{100 * self.others_verified(title):.0f}%"
                row["attacker's mark verified"] = f"{own} of {len(runs)}"
            rows.append(row)
        return pd.DataFrame(rows).set_index("attack")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw, for each attack, accuracy lost and what planting a backdoor gained."""
        titles = [title for title in self.runs if title != HONEST]
        fig, ax = plots.figure(9.0, 1.9 + 0.33 * len(titles)) if ax is None else (ax.figure, ax)
        looks = (
            (self.lost, "accuracy lost", "o", -0.14),
            (self.planted, "backdoor planted", "s", 0.14),
        )
        for index, (measure, label, marker, shift) in enumerate(looks):
            found = [measure(title) for title in titles]
            middle = np.array([100 * one.estimate for one in found])
            reach = np.array([[100 * (o.estimate - o.low), 100 * (o.high - o.estimate)] for o in found]).T
            ax.errorbar(
                middle,
                np.arange(len(titles)) + shift,
                xerr=np.clip(reach, 0, 200),
                fmt=marker,
                capsize=3,
                linestyle="none",
                color=plots.COLOURS[index],
                label=label,
            )
        ax.axvline(0, color="black", linewidth=0.8, linestyle="-")
        ax.set_yticks(np.arange(len(titles)), titles, fontsize=9)
        ax.set_ylim(len(titles) - 0.5, -0.5)
        ax.set_xlim(-45, 105)
        ax.set_xlabel(f"points against the honest run (mean, 95% over {len(self.seeds)} seeds)")
        ax.set_title(textwrap.fill(f"One malicious hospital; {self.source}; {self.profile}", 84), fontsize=9)
        fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        said = "; ".join(
            f"{title}: accuracy lost {points(self.lost(title))}, backdoor {points(self.planted(title))}"
            for title in titles
        )
        return plots.describe(fig, f"Attacks by one malicious hospital, paired with the honest run. {said}.")


def points(found: stats.Interval) -> str:
    """Return a difference of shares in percentage points, with its interval."""
    middle, low, high = (round(100 * end, 1) + 0.0 for end in (found.estimate, found.low, found.high))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


def _others(run: Measured) -> float:
    others = [run.verifies(name) for name in run.strengths if name != run.attacker]
    return float(np.mean(others)) if others else float("nan")
