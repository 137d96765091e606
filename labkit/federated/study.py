"""What each placement of the noise costs in accuracy: the same hospitals, seeds and model, one curve a placement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, progress, stats
from labkit.federated import recipes
from labkit.federated.hospitals import Hospitals, load_hospitals
from labkit.federated.loop import federate
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.federated.noise import Noise
    from labkit.federated.rounds import Training
    from labkit.stats import Interval

NAMES = {
    "none": "no noise",
    "central": "central (the server adds it)",
    "distributed": "distributed (shares of the threshold)",
    "local": "local (each hospital the full noise)",
    "record": "record (DP-SGD inside each hospital)",
}


@dataclass(frozen=True)
class Point:
    """One placement at one ε, over seeds.

    Attributes
    ----------
    placement, unit : str
    epsilon : float or None
        The target; None without noise.
    statement : str
        The promise as it may be printed, with whom it protects.
    accuracies : tuple of float
        One test accuracy a seed; the seed draws the split into train and test, the hospitals, and the noise.
    terms : str
        Rounds, learning rate and statistics: each placement has its own, tuned ones.
    noise, rounds
        What the promise was computed from.
    """

    placement: str
    unit: str
    epsilon: float | None
    statement: str
    accuracies: tuple[float, ...]
    terms: str = ""
    noise: Noise | None = field(default=None, repr=False)
    rounds: int = 0

    @property
    def mean(self) -> Interval:
        """Mean over seeds with its Student t interval."""
        return stats.mean_share(self.accuracies)


@dataclass(frozen=True)
class PlacementCurve(Result):
    """Accuracy against ε for each placement: see `placement_curve`."""

    points: tuple[Point, ...]
    seeds: tuple[int, ...]
    source: str
    profile: str

    def point(self, placement: str, epsilon: float | None = None, unit: str = "patient") -> Point:
        """Return one point.

        Raises
        ------
        LookupError
            If it was not measured; the message lists those that were.
        """
        for found in self.points:
            if (found.placement, found.epsilon, found.unit) == (placement, epsilon, unit):
                return found
        have = ", ".join(f"{p.placement} at {p.epsilon} ({p.unit})" for p in self.points)
        raise LookupError(f"no point {placement!r} at {epsilon} for unit {unit!r}; measured: {have}")

    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "profile": self.profile,
            "seeds": list(self.seeds),
            "points": [
                {
                    "placement": p.placement,
                    "unit": p.unit,
                    "privacy": p.statement,
                    "terms": p.terms,
                    "accuracy": p.mean,
                    "interval of": f"the mean over {len(p.accuracies)} seeds (splits, hospitals, noise)",
                }
                for p in self.points
            ],
        }

    def summary(self) -> str:
        return f"{len(self.points)} points, {len(self.seeds)} seeds each; {self.source}; {self.profile}"

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "placement": p.placement,
                "unit": p.unit,
                "mean accuracy [95% over seeds]": p.mean.percent(1),
                "promise": p.statement,
                "own terms": p.terms,
            }
            for p in self.points
        ]
        return pd.DataFrame(rows).set_index("placement")

    def plot(self, ax: Axes | None = None, unit: str = "patient") -> Figure:
        """Draw accuracy against ε for each placement of one unit, no noise as a band across."""
        fig, ax = plots.figure(7.0, 4.2) if ax is None else (ax.figure, ax)
        plain = self.point("none").mean
        ax.axhline(
            100 * plain.estimate, color="black", linewidth=1, linestyle=":", label="no noise, no promise"
        )
        ax.axhspan(100 * plain.low, 100 * plain.high, color="black", alpha=0.08, linewidth=0)
        told = [f"no noise {plain.percent(1)}"]
        targets = [p.epsilon for p in self.points if p.epsilon and p.unit == unit]
        placements = dict.fromkeys(p.placement for p in self.points if p.epsilon and p.unit == unit)
        for index, placement in enumerate(placements):
            points = sorted(
                (p for p in self.points if p.placement == placement and p.unit == unit),
                key=lambda p: p.epsilon,
            )
            at = np.array([p.epsilon for p in points]) * (
                1 + 0.02 * (index - 1.5)
            )  # side by side, not on top
            mean = np.array([[p.mean.estimate, p.mean.low, p.mean.high] for p in points]).T * 100
            ax.errorbar(
                at,
                mean[0],
                yerr=[mean[0] - mean[1], mean[2] - mean[0]],
                capsize=3,
                marker="osD^v"[index],
                color=plots.COLOURS[index],
                linestyle=plots.LINES[index],
                label=NAMES[placement],
            )
            told += [f"{placement} at ε = {p.epsilon:g}: {p.mean.percent(1)}" for p in points]
        plots.epsilon_axis(ax, f"ε (PLD, δ = 1e-5, unit: {unit}; whom it protects differs by placement)")
        ax.set_ylabel(f"test accuracy, %\n(mean and 95% interval, {len(self.seeds)} seeds)")
        ax.set_xlim(min(targets) / 1.6, max(targets) * 1.6)
        ax.set_title(self.source.replace(", private", ",\nprivate") + f"; {self.profile}", fontsize=9)
        ax.legend(fontsize=8, loc="lower right")
        return plots.describe(
            fig, f"Test accuracy against epsilon by placement of the noise. {'; '.join(told)}."
        )


def placement_curve(
    name: str = "breast_cancer",
    *,
    placements: Sequence[str] = ("central", "distributed", "local", "record"),
    epsilons: Sequence[float] = (1.0, 3.0, 8.0),
    seeds: Sequence[int] = tuple(range(20)),
    unit: str = "patient",
    by: str = "label",
) -> PlacementCurve:
    """Train every placement at every ε on every seed, by `labkit.federated.recipes`, and measure on test records once.

    Parameters
    ----------
    name : str
        Of the data set that is split among five hospitals.
    placements, epsilons : sequence
        Besides them, the same model without noise is trained on every seed.
    seeds : sequence of int
        Each draws a split into train and test, who holds what, and all noise. The same patients come back in many
        splits, so an interval over seeds speaks of these patients, not of new ones.
    unit : {"patient", "hospital"}
    by : {"label", "size", "site"}

    Returns
    -------
    PlacementCurve
    """
    clinics = {seed: load_hospitals(name, by=by, seed=seed) for seed in seeds}
    wanted = [("none", None), *((p, e) for e in epsilons for p in placements)]
    points = []
    with progress.bar(len(wanted) * len(seeds), "placements") as shown:
        for placement, epsilon in wanted:
            accuracies, noise = [], None
            for seed in seeds:
                hospitals, noise, training = recipes.plan(
                    clinics[seed], placement, epsilon, unit=unit, seed=seed
                )
                accuracies.append(_accuracy(hospitals, noise, training, seed))
                shown.update()
            points.append(
                Point(
                    placement,
                    unit if epsilon else "patient",
                    epsilon,
                    _said(noise, training),
                    tuple(accuracies),
                    _terms(noise, training),
                    noise,
                    training.rounds,
                )
            )
    source = f"{clinics[seeds[0]].source.rsplit(', seed', 1)[0]}, {recipes.FEATURES}"
    return PlacementCurve(tuple(points), tuple(seeds), source, profiles.current().name)


def _accuracy(hospitals: Hospitals, noise: Noise, training: Training, seed: int) -> float:
    found = federate(recipes.federation(hospitals, training, noise), seed=seed, secure=False, quiet=True)
    return found.accuracy.estimate


def _terms(noise: Noise, training: Training) -> str:
    """Return what differs between placements besides the noise."""
    steps = f"{training.rounds} rounds" + (f" of {noise.local_steps} steps" if noise.local_steps > 1 else "")
    statistics = "exact statistics"
    if noise.statistics_multiplier:
        statistics = f"statistics' noise {noise.statistics_multiplier:g}, full at {noise.statistics_full_at}"
    elif noise.unit == "hospital":
        statistics = "public features"
    return f"{steps}, rate {training.learning_rate:g}, {statistics}"


def _said(noise: Noise, training: Training) -> str:
    """Return the promise that the target was set for, and towards whom it holds."""
    if noise.placement == "none":
        return "none"
    observer = "everyone who gets the model" if noise.placement == "central" else "the server"
    return f"{noise.statement(training.rounds, observer=observer)}; unit {noise.unit}; against {observer}"
