"""Who contributed? Mark strength over rounds, leave-one-out and exact Shapley values, side by side.

A mark measures that a key's holder took part, and how often its pull got through. It does not measure what they gave: a
free-rider who sends the pull alone is marked like anybody else, and the second arm here shows by how much.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles, progress, stats
from labkit.federated.marks.coalitions import coalitions, held_out, leave_one_out, shapley
from labkit.federated.marks.enrolment import Enrolment, MarkError, enrol
from labkit.federated.marks.titles import entitle, splits
from labkit.federated.noise import Noise
from labkit.federated.rounds import Federation, State, Training, begin, contribute, step
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from labkit.federated.hospitals import Hospitals

MOST = 8  # hospitals: 256 coalitions
MEASURES = ("records", "mark strength", "leave-one-out", "Shapley")


@dataclass(frozen=True, eq=False)
class ContributionReport(Result):
    """Measures of contribution by hospital: see `contributions`.

    Attributes
    ----------
    names : tuple of str
    values : dict of str to ndarray of shape [seeds, hospitals]
        By measure: train records, strength z of the mark, and points of validation accuracy.
    over_rounds : ndarray of shape [seeds, rounds + 1, hospitals]
        Strength of each mark in the global weights before the first round and after each.
    rider : ndarray of shape [seeds, 2]
        Mark strength and Shapley value of the hospital that rides for free in the second arm.
    honest : ndarray of shape [seeds, 2]
        The same of this hospital in the first arm.
    agreement : dict of (str, str) to Interval
        Spearman's rank correlation of two measures over hospitals, mean over seeds.
    source, profile : str
    seed : int
        Of the first split; the others follow.
    """

    names: tuple[str, ...]
    values: dict[str, np.ndarray] = field(repr=False)
    over_rounds: np.ndarray = field(repr=False)
    rider: np.ndarray = field(repr=False)
    honest: np.ndarray = field(repr=False)
    agreement: dict[tuple[str, str], stats.Interval]
    source: str
    profile: str
    seed: int

    def numbers(self) -> dict[str, Any]:
        by_name = {
            measure: dict(zip(self.names, map(stats.mean_interval, found.T), strict=True))
            for measure, found in self.values.items()
        }
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "seeds": len(self.rider),
            "interval over": "seeds: split among hospitals, validation records, keys and batches",
            "measures": by_name,
            "rank correlation": {f"{a} and {b}": found for (a, b), found in self.agreement.items()},
            "free-rider's mark, z": stats.mean_interval(self.rider[:, 0]),
            "its mark when honest, z": stats.mean_interval(self.honest[:, 0]),
            "free-rider's Shapley value, points": stats.mean_interval(self.rider[:, 1]),
            "its Shapley value when honest, points": stats.mean_interval(self.honest[:, 1]),
        }

    def summary(self) -> str:
        said = "; ".join(f"{a} and {b} {found}" for (a, b), found in self.agreement.items() if b == "Shapley")
        return (
            f"rank correlation over {len(self.names)} hospitals, mean over {len(self.rider)} seeds: {said}. A free-rider's mark "
            f"reads {stats.mean_interval(self.rider[:, 0])}, the same hospital's when honest "
            f"{stats.mean_interval(self.honest[:, 0])}: marks show who took part, not who gave. {self.source}; {self.profile}, "
            f"seed {self.seed}"
        )

    def table(self) -> pd.DataFrame:
        """One row per hospital, means over seeds with their intervals; hospitals differ from seed to seed."""
        import pandas as pd

        rows = [
            {"hospital": name}
            | {measure: _shown(measure, found[:, at]) for measure, found in self.values.items()}
            for at, name in enumerate(self.names)
        ]
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the strength of each hospital's mark over rounds, mean over seeds."""
        fig, ax = plots.figure() if ax is None else (ax.figure, ax)
        mean = self.over_rounds.mean(0)
        for at, name in enumerate(self.names):
            ax.plot(mean[:, at], label=name, color=plots.COLOURS[at % 7], linestyle=plots.LINES[at % 7])
        plots.band(ax, range(len(mean)), self.over_rounds.min((0, 2)), self.over_rounds.max((0, 2)))
        ax.set_xlabel("round")
        ax.set_ylabel("strength of the mark, z")
        entitle(ax, f"Mean over {len(self.rider)} seeds; band: least and greatest", self.source)
        ax.legend(fontsize=8)
        said = "; ".join(f"{name} {mean[-1, at]:.1f}" for at, name in enumerate(self.names))
        return plots.describe(fig, f"Strength of each hospital's mark over rounds, from about 0 to: {said}.")


def _shown(measure: str, found: np.ndarray) -> str:
    """Return counts as least to most over the splits, all else as a mean with its interval."""
    if measure == "records":
        return f"{found.min():.0f} to {found.max():.0f}"
    return str(stats.mean_interval(found))


def contributions(
    load: Callable[[int], Hospitals],
    make_model: Callable[[], nn.Module],
    *,
    marked_model: Callable[[], nn.Module] | None = None,
    training: Training | None = None,
    marked_training: Training | None = None,
    seeds: int | None = None,
    seed: int = 0,
) -> ContributionReport:
    """Measure every hospital's contribution in all ways, on several splits.

    Parameters
    ----------
    load : callable
        Takes a seed, returns hospitals with preprocessed records.
    make_model : callable
        Whose coalitions are all trained: small, such as a logistic regression.
    marked_model : callable, optional
        In which marks are read, of the same hospitals; ``make_model`` by default. A model of 62 weights has little room
        for five marks.
    training, marked_training : Training, optional
        Of coalitions ("gradient"), and of the marked federation.
    seeds : int, optional
        2 (smoke), 6 (laptop) or 20 (full) splits.

    Raises
    ------
    MarkError
        For more than 8 hospitals: 2^n coalitions are trained.
    """
    profile = profiles.current()
    seeds = seeds or profile.pick(smoke=2, laptop=6, full=20)
    rounds = profile.pick(smoke=5, laptop=20, full=40)
    training = training or Training(
        rounds, "gradient", 2.0, momentum=0.9, schedule="linear", average_from=0.5
    )
    marked_training = marked_training or Training(rounds, "update", 0.1, batch_size=64, average_from=0.5)
    names = load(seed).names
    if len(names) > MOST:
        raise MarkError(
            f"{len(names)} hospitals have {2 ** len(names)} coalitions; expected at most {MOST} hospitals"
        )
    values: dict[str, list[np.ndarray]] = {measure: [] for measure in MEASURES}
    paths, rider, honest = [], [], []
    for own in progress.track(range(seed, seed + seeds), "contributions"):
        hospitals = held_out(load(own), own)
        free = names[own % len(names)]
        plain = Federation(hospitals, make_model, training, Noise(hospitals=len(names), threshold=1))
        worth = coalitions(plain, own)
        ridden = coalitions(plain, own, idle=free, known=worth)
        enrolment, federation = _marked(hospitals, marked_model or make_model, marked_training, own)
        path = strengths(federation, enrolment, own)
        paths.append(path)
        values["records"].append(np.array([len(h.dataset.train_y) for h in hospitals], dtype=float))
        values["mark strength"].append(path[-1])
        values["leave-one-out"].append(leave_one_out(worth, names))
        values["Shapley"].append(shapley(worth, names))
        at = names.index(free)
        rider.append((strengths(federation, enrolment, own, idle=free)[-1, at], shapley(ridden, names)[at]))
        honest.append((path[-1, at], values["Shapley"][-1][at]))
    stacked = {measure: np.stack(found) for measure, found in values.items()}
    return ContributionReport(
        names,
        stacked,
        np.stack(paths),
        np.array(rider),
        np.array(honest),
        {pair: _agreement(*(stacked[m] for m in pair)) for pair in itertools.combinations(MEASURES, 2)},
        splits(load(seed).source, seeds),
        profile.name,
        seed,
    )


def strengths(federation: Federation, enrolment: Enrolment, seed: int, *, idle: str = "") -> np.ndarray:
    """Train a marked federation; return each mark's strength over rounds, shape [rounds + 1, hospitals].

    A hospital that is ``idle`` learns nothing from its records: it sends its mark's pull alone.
    """
    bare = replace(federation, marks={})
    state = begin(federation)
    found = [_strengths(enrolment, state)]
    for _ in range(federation.training.rounds):
        total = np.zeros(len(state.weights), dtype=np.int64)
        for name in federation.hospitals.names:
            sent = contribute(federation, name, state, seed=seed)
            if name == idle:  # same seed, same batches: what is left of the difference is the pull
                sent = sent - contribute(bare, name, state, seed=seed)
            total = total + sent
        state = step(federation, state, total, federation.hospitals.names, seed=seed)
        found.append(_strengths(enrolment, state))
    return np.stack(found)


def _strengths(enrolment: Enrolment, state: State) -> np.ndarray:
    return np.array([mark.strength_in(state.weights) for mark in enrolment.bit_marks.values()])


def _marked(
    hospitals: Hospitals, make_model: Callable[[], nn.Module], training: Training, seed: int
) -> tuple[Enrolment, Federation]:
    federation = Federation(hospitals, make_model, training, Noise(hospitals=len(hospitals)))
    bits = min(128, federation.dimension // 32 * 32)
    enrolment = enrol(hospitals.names, seed, federation.dimension, bits=bits, colluders=0)
    return enrolment, replace(federation, marks=enrolment.marks)


def _agreement(one: np.ndarray, two: np.ndarray) -> stats.Interval:
    """Return Spearman's correlation over hospitals, mean over seeds; a seed where one measure is constant counts 0."""
    from scipy.stats import spearmanr

    found = [
        float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
        for a, b in zip(one, two, strict=True)
    ]
    return stats.mean_interval(found)
