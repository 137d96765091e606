"""Hospitals that work together: against a neighbour's patients, and against the marks in their copies.

Against patients, colluders pool what each knows of every round: its own gradients and its own share of the noise. What is
left of the sum is the others' noise and the others' patients. Two things are measured: how much noise is left, beside what
`Noise.against` says, and how many members of the largest hospital the posterior attack then finds, on the same records and
the same targets for every number of colluders.

Against marks, two hospitals mix their copies of the model and hand out the mixture.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, stats
from labkit.federated.noise import Promises, promises
from labkit.federated.rounds import Federation, begin, contribute, gradient_sum, grid_of, step, unflatten
from labkit.federated.threats import scoring, shadows
from labkit.federated.threats.findings import Finding, Scale, judge, not_shown, wrapped
from labkit.federated.threats.membership import default_count, reduced, shortened
from labkit.federated.threats.membership_result import FOUND, OVER_WHAT, RATE
from labkit.federated.threats.system import System
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
MIXED = "Two hospitals that mix their marked copies"


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
    """What came of mixed copies: how often both, one, or no guilty hospital was named, and how often an innocent one."""

    tried: int
    both: int
    one: int
    innocent: int
    per_way: dict[str, tuple[int, int]]


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
        """Return two: against patients, and against marks."""
        return [self._against_patients(), self._against_marks()]

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
            "adversary": "two hospitals with a copy of the model each",
            "knowledge": "their two copies; neither the unmarked weights nor the code",
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
                f"Of {mixed.tried} mixtures ({ways}), both guilty hospitals were named in {mixed.both}, one in {mixed.one}, none "
                f"in {missed}; an innocent one in {mixed.innocent}."
            ),
            number=UNTRACED.what,
            interval=untraced,
            interval_of="pairs of hospitals and ways of mixing, under one set of keys: other keys would vary more",
            differs="nothing was compared: every mixture carries a mark",
            status=status,
        )


def study_collusion(system: System, *, seed: int = 0, count: int | None = None) -> Collusion:
    """Let hospitals collude against the largest one's patients, and two of them against their copies' marks.

    Parameters
    ----------
    seed : int
        Of the shadow federations, which `study_membership` shares, and of the mixtures.
    count : int, optional
        Shadow federations; by profile as in `study_membership`.
    """
    federation = shortened(system.federation)
    count = default_count() if count is None else count
    why = _unfit(federation, count)
    steps, bare = ((), None) if why else (_steps(federation, count, seed), _bare(federation, count, seed))
    private = federation.noise.placement != "none"
    return Collusion(
        steps=steps,
        victim=shadows.largest(federation),
        bare=bare,
        promises=promises(federation.noise, federation.training.rounds) if private else None,
        mixtures=None if system.enrolment is None else _mixtures(system, seed),
        targets=count,
        source=federation.hospitals.source,
        profile=profiles.current().name,
        seed=seed,
        why=why,
    )


def _unfit(federation: Federation, count: int) -> str:
    """Return why the attack on patients cannot be made, or nothing."""
    if federation.noise.placement not in ("distributed", "local") or federation.training.kind != "gradient":
        return (
            "the system sums no gradients with distributed or local noise, so there are no shares to subtract"
        )
    outside, needed = (
        reduced(count) * federation.sizes[shadows.largest(federation)] // 2,
        round(scoring.NEEDED / RATE),
    )
    # A coin decides who is out, so the number itself is only near this; a tenth of slack is ten standard deviations.
    if outside < 1.1 * needed:
        return f"{reduced(count)} shadow federations give about {outside} non-members of the victim; {needed} are needed"
    return ""


def noise_left(federation: Federation, *, seed: int) -> list[Interval]:
    """Return, for 0, 1, ... colluders, the noise left in the rounds' sums after they subtracted theirs.

    Standard deviation over clipping norm, pooled over rounds and weights, with its chi-square interval; one run of the
    federation itself, whose contributions are compared with the gradient sums that they were made from.
    """
    names, state = federation.hospitals.names, begin(federation)
    noises: dict[str, list[np.ndarray]] = {name: [] for name in names}
    grid = grid_of(federation)
    for _ in range(federation.training.rounds):
        model = unflatten(federation.make_model(), state.weights)
        vectors = {name: contribute(federation, name, state, seed=seed) for name in names}
        for name in names:
            held = federation.dataset(name)
            exact = gradient_sum(model, held.train_x, held.train_y, federation.noise.max_grad_norm)
            noises[name].append(
                grid.value(vectors[name]) - exact - shadows.pull_in_sum(federation, name, state)
            )
        state = step(federation, state, sum(vectors.values()), names, seed=seed)
    found = []
    for colluders in range(len(names)):
        known = shadows.gang(federation, colluders)
        left = sum(np.concatenate(noises[name]) for name in names if name not in known)
        found.append(_deviation(left / federation.noise.max_grad_norm))
    return found


def _deviation(values: np.ndarray) -> Interval:
    """Return the root mean square of independent Gaussians of mean 0, with its chi-square interval."""
    from scipy.stats import chi2

    n, total = len(values), float(np.square(values).sum())
    low, high = (math.sqrt(total / chi2.ppf(p, n)) for p in (0.975, 0.025))
    return Interval(math.sqrt(total / n), low, high, 0.95, f"chi-square, {n} noise values")


def _steps(federation: Federation, count: int, seed: int) -> tuple[Step, ...]:
    shown = shadows.shadow_federations(federation, count, shadows.views_of(federation), seed=seed)
    left, n = noise_left(federation, seed=seed), len(federation.hospitals)
    found = []
    for colluders in range(n):
        observer = "another hospital" if colluders else "everyone who gets the model"
        terms = {"observer": observer, "colluders": colluders, "survivors": n}
        statement = federation.noise.statement(federation.training.rounds, **terms)
        tpr, auc = _on_victim(federation, shown, colluders, seed)
        found.append(
            Step(
                colluders=colluders,
                promised=federation.noise.against(**terms),
                left=left[colluders],
                statement=str(statement),
                tpr=tpr,
                auc=auc,
                ceiling=float(statement.tradeoff_curve(np.array([RATE]))[0]),
            )
        )
    return tuple(found)


def _bare(federation: Federation, count: int, seed: int) -> Interval:
    """Return what all others together find without clipping and noise."""
    plain = shadows.without_noise(federation)
    shown = shadows.shadow_federations(plain, reduced(count), shadows.views_of(federation), seed=seed)
    return _on_victim(federation, shown, len(federation.hospitals) - 1, seed)[0]


def _on_victim(
    federation: Federation, shown: shadows.Shadows, colluders: int, seed: int
) -> tuple[Interval, Interval]:
    """Return TPR and AUC of the posterior attack on the victim's records alone."""
    view = shadows.gang(federation, colluders)
    of_victim = shown.owner == shown.names.index(shadows.largest(federation))
    masks = shown.masks[:, of_victim]
    scores = scoring.lira_scores(shown.seen[view][:, of_victim], masks)
    return scoring.tpr_interval(scores, masks, RATE, seed=seed), scoring.auc_interval(
        scores, masks, seed=seed
    )


def _mixtures(system: System, seed: int) -> Mixtures:
    """Mix every pair's copies in three ways and trace the mixtures."""
    from labkit.federated.loop import federate
    from labkit.federated.marks import fingerprint, trace

    weights = federate(system.federation, seed=seed, secure=False).weights
    copies = fingerprint(weights, system.enrolment)
    random = np.random.default_rng([seed, 77])
    both = one = innocent = 0
    per_way: dict[str, list[int]] = {}
    for pair in itertools.combinations(copies, 2):
        first, second = (copies[name] for name in pair)
        for way, mixture in _mixed(first, second, random).items():
            accused = set(trace(mixture, system.enrolment, weights).accused)
            guilty = len(accused & set(pair))
            both, one, innocent = (
                both + (guilty == 2),
                one + (guilty == 1),
                innocent + bool(accused - set(pair)),
            )
            counts = per_way.setdefault(way, [0, 0])
            counts[0] += guilty > 0
            counts[1] += 1
    tried = sum(total for _, total in per_way.values())
    return Mixtures(
        tried, both, one, innocent, {way: (named, total) for way, (named, total) in per_way.items()}
    )


def _mixed(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return mixtures of two copies: what two hospitals would try first."""
    return {
        "mean": (first + second) / 2,
        "a coin for each weight": np.where(random.random(len(first)) < 0.5, first, second),
        "the smaller of each weight": np.minimum(first, second),
    }
