"""What colluding hospitals achieved: rows, figures, and the findings that follow; see `labkit.federated.threats.colluding`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.federated.noise import Promises
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown, wrapped
from labkit.federated.threats.membership_result import FOUND, OVER_WHAT
from labkit.results import Result
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNTRACED = Scale(
    "share of mixtures from which no guilty hospital is named", low=0.1, medium=0.25, high=0.5, critical=0.9
)
GANG = "Hospitals that collude against a neighbour's patients"
MIXED = "Two recipients of the model, no party to the training, that mix their marked copies"
REBUILT = "A hospital that rebuilds the unmarked model from the rounds"
UNNAMED = replace(UNTRACED, what="share of rebuilt models from which the hospital is not named")


@dataclass(frozen=True)
class Step:
    """What a number of colluders sees.

    Attributes
    ----------
    colluders : int
    promised, left : float, Interval
        Standard deviation of the noise over the clipping norm: by the accounting; measured after the subtraction.
    statement : str
        The promise that is left.
    tpr, auc : Interval
        Of the attack on the victim's records.
    ceiling : float
        What the promise allows at 1% false positives.
    """

    colluders: int
    promised: float
    left: Interval
    statement: str
    tpr: Interval
    auc: Interval
    ceiling: float


@dataclass(frozen=True)
class Mixtures:
    """What came of mixed copies: how often both, one, or no guilty hospital was named, and how often an innocent one.

    ``rebuilt`` counts draws of code words, and those in which the hospital that gave away the model as rebuilt from the
    rounds was named; ``missed`` is how far that model lies from the unmarked one, over a copy's step.
    """

    tried: int
    both: int
    one: int
    innocent: int
    per_way: dict[str, tuple[int, int]]
    rebuilt: tuple[int, int]
    missed: float


@dataclass(frozen=True, eq=False)
class Collusion(Result):
    """What colluding hospitals achieve: see `study_collusion`.

    Attributes
    ----------
    steps : tuple of Step
        From 0 colluders (the server alone) on; empty where there is no noise to subtract or no sum of gradients.
    victim : str
    bare : Interval or None
        Members found by all others together without clipping and noise.
    promises : Promises or None
        The whole table, with dropouts.
    mixtures : Mixtures or None
    targets : int
    source, profile : str
    seed : int
    why : str
        Why there are no steps.
    """

    steps: tuple[Step, ...]
    victim: str
    bare: Interval | None
    promises: Promises | None
    mixtures: Mixtures | None
    targets: int
    source: str
    profile: str
    seed: int
    why: str = ""

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "victim": self.victim,
            "target federations": self.targets,
            "steps": [vars(one) for one in self.steps],
            "found without noise": self.bare,
            "promises": None if self.promises is None else self.promises.numbers(),
            "mixtures": None if self.mixtures is None else vars(self.mixtures),
        }

    def summary(self) -> str:
        if not self.steps:
            return f"no attack on patients: {self.why}; {self.source}; {self.profile}, seed {self.seed}"
        last = self.steps[-1]
        return (
            f"{last.colluders} colluders leave {last.left} of noise per clipping norm and find {last.tpr.percent(1)} of "
            f"{self.victim}'s members at 1% false positives; {self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """Return one row for each number of colluders."""
        import pandas as pd

        rows = [
            {
                "colluders": one.colluders,
                "noise / clipping norm, promised": round(one.promised, 3),
                "left after subtraction": str(one.left),
                "promise": one.statement,
                "TPR at 1% FPR": one.tpr.percent(1),
                "allowed": f"{100 * one.ceiling:.1f}%",
                "AUC": str(one.auc),
            }
            for one in self.steps
        ]
        return (
            pd.DataFrame(rows).set_index("colluders")
            if rows
            else pd.DataFrame(index=pd.Index([], name="colluders"))
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw members found, and what the promise allows, against the number of colluders."""
        fig, ax = plots.figure(6.4, 3.6) if ax is None else (ax.figure, ax)
        at = [one.colluders for one in self.steps]
        found = np.array([[one.tpr.estimate, one.tpr.low, one.tpr.high] for one in self.steps]) * 100
        reach = [found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]]
        ax.errorbar(
            at, found[:, 0], yerr=reach, fmt="o", capsize=4, linestyle="-", label="found (95% interval)"
        )
        ax.plot(
            at,
            [100 * one.ceiling for one in self.steps],
            "s",
            linestyle=":",
            color="black",
            label="allowed by the promise",
        )
        ax.axhline(1, color="#777777", linestyle="-", linewidth=1, label="guessing")
        ax.set_xticks(at)
        ax.set_xlabel("colluding hospitals, with the server")
        ax.set_ylabel("members found at 1% FPR, %")
        ax.set_title(
            wrapped(f"Members of {self.victim}, {self.targets} targets; {self.source}", 84), fontsize=9
        )
        ax.legend()
        said = "; ".join(
            f"{one.colluders}: {one.tpr.percent(1)} of {100 * one.ceiling:.1f}% allowed" for one in self.steps
        )
        return plots.describe(fig, f"Members found against the number of colluding hospitals. {said}.")

    def findings(self) -> list[Finding]:
        """Return three: against patients, against marks in copies, and around them."""
        return [self._against_patients(), self._against_marks(), self._around_marks()]

    def _against_patients(self) -> Finding:
        about = {
            "adversary": "hospitals that collude, with the server",
            "knowledge": (
                "every round's sum; their own records, gradients and noise shares, which they subtract; all candidate "
                "records of the victim, each in or out by a coin"
            ),
            "control": "noise calibrated for colluders (Noise(colluders=...)): each share is then larger",
        }
        if not self.steps:
            return not_shown(GANG, **about, why=f"{self.why}.")
        alone, last = self.steps[0], self.steps[-1]
        severity, status = judge(FOUND, self.bare, last.tpr)
        return Finding(
            title=GANG,
            severity=severity,
            **about,
            evidence=(
                f"With {last.colluders} colluders the noise left in the sum falls from {alone.left} to {last.left} clipping norms "
                f"(promised: {alone.promised:.3g} and {last.promised:.3g}), and the promise for {self.victim} from "
                f"{alone.statement} to {last.statement}. They find {last.tpr.percent(1)} of its members at 1% false positives "
                f"(allowed: {100 * last.ceiling:.1f}%); the server alone finds {alone.tpr.percent(1)}. Without clipping and "
                f"noise they find {self.bare.percent(1)}."
            ),
            number=f"share of {self.victim}'s members found at 1% false positives by all others together",
            interval=last.tpr,
            interval_of=OVER_WHAT,
            differs=(
                "colluders against the server alone: nothing else, same targets and records; with against without noise: "
                "clipping and noise"
            ),
            status=status,
            figure=self.plot(),
        )

    def _against_marks(self) -> Finding:
        about = {
            "adversary": "two recipients of the final model with a copy each, who took no part in the training",
            "knowledge": "their two copies; neither the unmarked weights, nor those of any round, nor the code",
            "control": "a collusion-aware (Tardos) code in the copies",
        }
        if self.mixtures is None:
            return not_shown(MIXED, **about, why="no copies are marked: the system has no enrolment.")
        mixed = self.mixtures
        missed = mixed.tried - mixed.both - mixed.one
        untraced = stats.clopper_pearson(missed, mixed.tried)
        severity, status = judge(UNTRACED, untraced)
        ways = "; ".join(f"{way}: {named} of {tried} traced" for way, (named, tried) in mixed.per_way.items())
        return Finding(
            title=MIXED,
            severity=severity,
            **about,
            evidence=(
                f"Of {mixed.tried} mixtures ({ways}), both guilty recipients were named in {mixed.both}, one in {mixed.one}, none "
                f"in {missed}; an innocent one in {mixed.innocent}. This says nothing about hospitals that followed the training: "
                f"see '{REBUILT}'."
            ),
            number=UNTRACED.what,
            interval=untraced,
            interval_of="pairs of recipients and ways of mixing, under one set of keys: other keys would vary more",
            differs="nothing was compared: every mixture carries a mark",
            status=status,
        )

    def _around_marks(self) -> Finding:
        about = {
            "adversary": "one hospital that takes part",
            "knowledge": "the weights that opened each round, which all hospitals are handed without a mark; the averaging",
            "control": (
                "none in the copies: all must start a round from one model, so rounds cannot carry a word for each hospital; "
                "contracts, and training where hospitals cannot read the weights"
            ),
        }
        if self.mixtures is None:
            return not_shown(REBUILT, **about, why="no copies are marked: the system has no enrolment.")
        drawn, named = self.mixtures.rebuilt
        untraced = stats.clopper_pearson(drawn - named, drawn)
        severity, status = judge(UNNAMED, untraced)
        return Finding(
            title=REBUILT,
            severity=severity,
            **about,
            evidence=(
                f"The mean of the weights that the rounds handed out lies {self.mixtures.missed:.2g} of a copy's step from the "
                f"unmarked model; the hospital was named in {named} of {drawn} draws of code words."
            ),
            number=UNNAMED.what,
            interval=untraced,
            interval_of="independent draws of code words and places, on one trained model",
            differs="nothing was compared: a rebuilt model carries no mark",
            status=status,
        )
