"""What a federation leaves behind: the model, who took part in which round, what may be said about privacy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from labkit.data import Dataset
    from labkit.dp.accounting.statement import PrivacyStatement
    from labkit.federated.noise import Noise, Promises
    from labkit.federated.rounds import State


@dataclass(frozen=True)
class Round:
    """One round as it went.

    Attributes
    ----------
    number : int
        From 1.
    survivors : tuple of str
        Whose contributions are in the sum.
    dropped : dict of str to str
        Who vanished, and at which stage of secure aggregation.
    seconds : float
        Of all hospitals and the server together, in this process.
    bytes_up : int
        From all hospitals to the server; 0 where contributions were added in the clear.
    """

    number: int
    survivors: tuple[str, ...]
    dropped: dict[str, str]
    seconds: float
    bytes_up: int


@dataclass(frozen=True, eq=False)
class FederatedResult(Result):
    """A model that hospitals trained together: see `labkit.federated.federate`.

    Attributes
    ----------
    model : nn.Module
    weights : ndarray of shape [d], float64
        The model's, as a vector.
    states : tuple of State
        The server's, before the first round and after each: what it and everyone saw (kept if asked for).
    rounds : tuple of Round
    accuracy : Interval
        Share of the pooled test records that are classified correctly, with the Clopper-Pearson interval of this one
        model over test patients: not of the training's chance.
    per_hospital : dict of str to Interval
        The same on each hospital's own test records.
    noise : Noise
        Where noise was placed, and how much.
    secure : bool
        Whether sums were taken by secure aggregation, or contributions added in the clear.
    source, profile : str
    seed : int or None
    """

    model: nn.Module = field(repr=False)
    weights: np.ndarray = field(repr=False)
    rounds: tuple[Round, ...] = field(repr=False)
    accuracy: stats.Interval
    per_hospital: dict[str, stats.Interval]
    noise: Noise
    secure: bool
    source: str
    profile: str
    seed: int | None
    states: tuple[State, ...] = field(default=(), repr=False)

    @property
    def fewest(self) -> int:
        """Fewest hospitals whose contributions made up a round's sum."""
        return min(len(round.survivors) for round in self.rounds)

    @cached_property
    def privacy(self) -> PrivacyStatement | None:
        """The promise towards everyone who gets the model, at the fewest survivors that a round really had."""
        if self.noise.placement == "none":
            return None
        return self.noise.statement(len(self.rounds), survivors=self.fewest)

    @cached_property
    def promises(self) -> Promises | None:
        """The promise towards each observer, with dropouts and colluders; None without noise."""
        from labkit.federated.noise import promises

        return None if self.noise.placement == "none" else promises(self.noise, len(self.rounds))

    def numbers(self) -> dict[str, Any]:
        promise = self.privacy
        return {
            "source": self.source,
            "profile": self.profile,
            "seed": "drawn and not kept" if self.seed is None else self.seed,
            "rounds": len(self.rounds),
            "accuracy": self.accuracy,
            "accuracy by hospital": dict(self.per_hospital),
            "privacy": "no promise" if promise is None else str(promise),
            "unit of privacy": "none" if promise is None else self.noise.unit,
            "secure aggregation": self.secure,
            "rounds with dropouts": sum(bool(r.dropped) for r in self.rounds),
            "bytes up": sum(r.bytes_up for r in self.rounds),
            "seconds": sum(r.seconds for r in self.rounds),
        }

    def summary(self) -> str:
        promise = self.privacy
        said = "no promise of privacy" if promise is None else f"{promise}, unit {self.noise.unit}"
        seed = "no kept seed" if self.seed is None else f"seed {self.seed} (who knows it is promised nothing)"
        return f"test accuracy {self.accuracy.percent(1)} (over patients); {said}; {self.source}; {self.profile}, {seed}"

    def table(self) -> pd.DataFrame:
        """One row per hospital: accuracy of the global model on its own test records, with the interval over patients."""
        import pandas as pd

        rows = [
            {
                "hospital": name,
                "accuracy": found.percent(1),
                "test records": int(found.method.split()[1].replace(",", "")),
                "rounds in the sum": sum(name in r.survivors for r in self.rounds),
            }
            for name, found in self.per_hospital.items()
        ]
        return pd.DataFrame(rows).set_index("hospital")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each hospital's accuracy with its interval, the pooled one as a line."""
        fig, ax = plots.figure(6.4, 3.2) if ax is None else (ax.figure, ax)
        names = list(self.per_hospital)
        found = list(self.per_hospital.values())
        estimates = np.array([100 * f.estimate for f in found])
        reach = np.array([[100 * (f.estimate - f.low), 100 * (f.high - f.estimate)] for f in found]).T
        ax.errorbar(estimates, np.arange(len(names)), xerr=reach, fmt="o", capsize=4, linestyle="none")
        ax.axvline(
            100 * self.accuracy.estimate, linestyle="--", color=plots.COLOURS[1], label="pooled test records"
        )
        ax.set_yticks(np.arange(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel("test accuracy, % (95% interval over patients)")
        ax.set_title(self.source, fontsize=10)
        ax.legend()
        alt = "Accuracy of the global model on each hospital's own patients: "
        alt += "; ".join(f"{name} {f.percent(1)}" for name, f in self.per_hospital.items())
        return plots.describe(fig, f"{alt}. Pooled: {self.accuracy.percent(1)}.")


def measure(model: nn.Module, dataset: Dataset) -> stats.Interval:
    """Return the accuracy on the data set's test records, with its Clopper-Pearson interval over them."""
    import torch

    model.eval()
    with torch.no_grad():
        hits = int((model(dataset.test_x).argmax(1) == dataset.test_y).sum())
    return stats.clopper_pearson(hits, len(dataset.test_y))
