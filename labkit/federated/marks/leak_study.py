"""How often leaks are traced, and innocents accused: measured over models, keys and leakers.

Examples
--------
>>> from labkit.federated.marks import leaks
>>> sorted(name for name, leak in leaks.LEAKS.items() if leak.leakers == 3)
['three averaged', 'three, min or max']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, progress, stats
from labkit.federated.marks.enrolment import Enrolment, MarkError, enrol
from labkit.federated.marks.leaks import LEAKS, Leak
from labkit.federated.marks.titles import entitle, splits
from labkit.federated.marks.tracing import fingerprint, trace
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset
    from labkit.federated.rounds import Federation


@dataclass(frozen=True)
class Traced:
    """What tracing made of one way to leak.

    Attributes
    ----------
    leakers : int
        Hospitals in each leak.
    each, all : Interval
        Share of leakers accused, and of leaks that were traced to all who took part.
    innocents : Interval
        Share of innocent hospitals accused.
    cost : Interval
        Accuracy of what turned up minus that of the global model, in points, on the pooled test records.
    """

    leakers: int
    each: stats.Interval
    all: stats.Interval
    innocents: stats.Interval
    cost: stats.Interval


@dataclass(frozen=True, eq=False)
class LeakReport(Result):
    """Leaks and what was traced: see `study_leaks`.

    Attributes
    ----------
    traced : dict of str to Traced
    innocents : Interval
        Of all attacks that the code is long enough for, together.
    copies : Interval
        Accuracy of copies minus that of the global model, in points; over models.
    trials : int
        Leaks of each kind: drawings of keys, code words and leakers, on ``models`` models in turn.
    models, colluders, places : int
    false_accusation : float
    source, profile : str
    seed : int
    """

    traced: dict[str, Traced]
    innocents: stats.Interval
    copies: stats.Interval
    trials: int
    models: int
    colluders: int
    places: int
    false_accusation: float
    source: str
    profile: str
    seed: int

    def numbers(self) -> dict[str, Any]:
        names = ("leakers", "each", "all", "innocents", "cost")
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "leaks of each kind": self.trials,
            "models": self.models,
            "code length": self.places,
            "colluders": self.colluders,
            "false accusation at most, a copy": self.false_accusation,
            "innocents accused": self.innocents,
            "copies' accuracy, points": self.copies,
            "leaks": {n: {x: getattr(t, x) for x in names} for n, t in self.traced.items()},
        }

    def summary(self) -> str:
        return (
            f"innocents accused {self.innocents.percent(2)} (of hospitals, all leaks by up to {self.colluders}); copies cost "
            f"{self.copies} points; {self.trials} leaks of each kind on {self.models} models, code of {self.places} places; "
            f"intervals are over draws of keys, words and leakers; {self.source}; {self.profile}, seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per way to leak."""
        import pandas as pd

        rows = [
            {
                "leak": name,
                "leakers": t.leakers,
                "leakers accused": t.each.percent(1),
                "all of them": t.all.percent(1),
                "innocents accused": t.innocents.percent(2),
                "accuracy, points": str(t.cost),
            }
            for name, t in self.traced.items()
        ]
        return pd.DataFrame(rows).set_index("leak")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw, for each way to leak, the share of leaks traced to all leakers."""
        fig, ax = plots.figure(6.8, 0.9 + 0.32 * len(self.traced)) if ax is None else (ax.figure, ax)
        names = list(self.traced)
        for at, name in enumerate(names):
            found = self.traced[name].all
            colour = plots.COLOURS[self.traced[name].leakers - 1]
            reach = 100 * np.array([[found.estimate - found.low], [found.high - found.estimate]])
            ax.errorbar(
                100 * found.estimate, at, xerr=reach, fmt="o", capsize=3, color=colour, linestyle="none"
            )
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlim(-3, 103)
        ax.set_xlabel("traced to all leakers, % (95% interval over draws)")
        entitle(ax, f"{self.trials} leaks of each kind, models: {self.models}", self.source)
        said = "; ".join(f"{name} {t.all.percent(1)}" for name, t in self.traced.items())
        return plots.describe(fig, f"Share of leaks traced to all who leaked: {said}.")


def study_leaks(
    trained: Sequence[tuple[Federation, np.ndarray]],
    enrolment: Enrolment,
    *,
    leaks: Mapping[str, Leak] = LEAKS,
    trials: int | None = None,
    seed: int = 0,
) -> LeakReport:
    """Hand out copies, leak them in many ways, and trace.

    Parameters
    ----------
    trained : sequence of (Federation, ndarray of shape [d])
        Federations and their final weights; they are taken in turn.
    enrolment : Enrolment
        Its terms; keys and words are drawn anew for every leak.
    leaks : mapping of str to Leak
    trials : int, optional
        Of each kind: 4 (smoke), 100 (laptop) or 1,000 (full).
    seed : int

    Raises
    ------
    MarkError
        If there is no model, or a leak takes more hospitals than leave an innocent.
    """
    trials = trials or profiles.current().pick(smoke=4, laptop=100, full=1000)
    if not trained or trials < 1:
        raise MarkError(f"got {len(trained)} models and {trials} trials; expected at least one of each")
    if too_many := [n for n, leak in leaks.items() if not 1 <= leak.leakers < len(enrolment.names)]:
        raise MarkError(f"{too_many} take {len(enrolment.names)} hospitals or more: nobody would be innocent")
    pooled = [federation.hospitals.pooled() for federation, _ in trained]
    accuracy = [_accuracy(f, weights, data) for (f, weights), data in zip(trained, pooled, strict=True)]
    counts = {
        name: np.zeros(3, dtype=int) for name in leaks
    }  # leakers accused, all of them, innocents accused
    costs: dict[str, list[float]] = {name: [] for name in leaks}
    copies: list[list[float]] = [[] for _ in trained]
    for trial in progress.track(range(trials), "leaks"):
        at = trial % len(trained)
        federation, weights = trained[at]
        fresh = _again(enrolment, seed * 1_000_003 + trial)
        handed = fingerprint(weights, fresh)
        copies[at] += [_accuracy(federation, copy, pooled[at]) - accuracy[at] for copy in handed.values()]
        for number, (name, leak) in enumerate(leaks.items()):
            random = np.random.default_rng([seed, trial, number])
            who = tuple(random.choice(enrolment.names, leak.leakers, replace=False))
            found = leak.change(np.stack([handed[n] for n in who]), federation, who, random)
            accused = set(trace(found, fresh, weights, make_model=federation.make_model).accused)
            counts[name] += (len(accused & set(who)), set(who) <= accused, len(accused - set(who)))
            costs[name].append(_accuracy(federation, found, pooled[at]) - accuracy[at])
    return _report(trained, enrolment, leaks, counts, costs, copies, trials, seed)


def _report(
    trained: Sequence[tuple[Federation, np.ndarray]],
    enrolment: Enrolment,
    leaks: Mapping[str, Leak],
    counts: dict[str, np.ndarray],
    costs: dict[str, list[float]],
    copies: list[list[float]],
    trials: int,
    seed: int,
) -> LeakReport:
    hospitals = len(enrolment.names)
    traced = {}
    wrong = innocent = 0
    for name, leak in leaks.items():
        each, everyone, accused = (int(n) for n in counts[name])
        others = trials * (hospitals - leak.leakers)
        if leak.leakers <= enrolment.colluders:
            wrong, innocent = wrong + accused, innocent + others
        traced[name] = Traced(
            leak.leakers,
            stats.clopper_pearson(each, trials * leak.leakers),
            stats.clopper_pearson(everyone, trials),
            stats.clopper_pearson(accused, others),
            stats.mean_interval(costs[name]),
        )
    return LeakReport(
        traced,
        stats.clopper_pearson(wrong, innocent),
        stats.mean_interval([float(np.mean(each)) for each in copies if each]),
        trials,
        len(trained),
        enrolment.colluders,
        enrolment.places,
        enrolment.false_accusation,
        splits(trained[0][0].hospitals.source, len({f.hospitals.digest for f, _ in trained})),
        profiles.current().name,
        seed,
    )


def _again(enrolment: Enrolment, seed: int) -> Enrolment:
    """Return the enrolment with other keys; marks play no part in copies."""
    return enrol(
        enrolment.names,
        seed,
        enrolment.terms.dimension,
        bits=enrolment.terms.bits,
        colluders=enrolment.colluders,
        false_accusation=enrolment.false_accusation,
        copy_strength=enrolment.copy_strength,
        places=enrolment.places,
    )


def _accuracy(federation: Federation, weights: np.ndarray, pooled: Dataset) -> float:
    """Return the accuracy on the pooled test records, in points."""
    from labkit.federated.result import measure
    from labkit.federated.rounds import unflatten

    model = unflatten(federation.make_model(), weights)
    return 100 * measure(model, pooled).estimate
