"""What DP-SGD leaves of a mark: backdoor marks among the train records, at several ε and in several numbers.

Differential privacy bounds what a *record* can do to a model, and a mark is a record (Adi et al., arXiv 1802.04633,
mark by data; the conflict is studied in arXiv 2207.01991). But k marks act together: for them the bound is that of a
group, which weakens with k (Dwork & Roth, "The algorithmic foundations of differential privacy", theorem 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import cache, dp, plots, profiles, progress, stats, training
from labkit.data import Dataset
from labkit.results import Result, as_json
from labkit.stats import Interval
from labkit.training.recipe import Recipe, fresh
from labkit.training.shelf import model_identity
from labkit.watermark.marks import backdoor
from labkit.watermark.marks import training as loop
from labkit.watermark.marks.keys import Key

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEARNING_RATE = 0.5
NO_PRIVACY = "none: trained without privacy"


@dataclass(frozen=True)
class Row:
    """One number of marks at one ε: accuracy and mark strength over seeds, Student t intervals."""

    epsilon: float | None
    statement: str
    marks: int
    accuracy: Interval
    strength: Interval


@dataclass(frozen=True, eq=False, repr=False)
class UnderDP(Result):
    """Mark strength with and without DP-SGD: see `strengths`."""

    rows: tuple[Row, ...]
    kind: str
    records: int
    seeds: tuple[int, ...]
    source: str
    profile: str
    delta: float

    def table(self) -> pd.DataFrame:
        """Return one row per statement and number of marks, with 95% intervals over seeds."""
        import pandas as pd

        rows = [
            {
                "privacy": row.statement,
                "marks": row.marks,
                "test accuracy": row.accuracy.percent(1),
                "triggers answered as marked": row.strength.percent(1),
            }
            for row in self.rows
        ]
        return pd.DataFrame(rows).set_index(["privacy", "marks"])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw mark strength against the number of marks, one line for each ε."""
        fig, ax = plots.figure(6.6, 3.8) if ax is None else (ax.figure, ax)
        counts = sorted({row.marks for row in self.rows})
        for number, epsilon in enumerate(dict.fromkeys(row.epsilon for row in self.rows)):
            line = [row for row in self.rows if row.epsilon == epsilon]
            middle = np.array([row.strength.estimate for row in line])
            low, high = (np.array([getattr(row.strength, end) for row in line]) for end in ("low", "high"))
            where = [counts.index(row.marks) + 0.05 * number for row in line]
            ends = 100 * np.clip([middle - low, high - middle], 0, 1)
            label = "no privacy" if epsilon is None else f"ε = {epsilon:g}"
            ax.errorbar(where, 100 * middle, yerr=ends, marker="o", capsize=3, label=label)
        ax.set_xticks(range(len(counts)), [f"{count}" for count in counts])
        ax.set(
            xlabel=f"marks among {self.records:,} train records",
            ylabel="triggers answered as marked (%)",
            ylim=(-3, 103),
            title=f"What DP-SGD leaves of a {self.kind} mark ({len(self.seeds)} seeds, 95% intervals)\n{self.source}",
        )
        ax.legend(title=f"PLD, δ = {self.delta:g}, add/remove, unit a record")
        seen = "; ".join(
            f"{'no privacy' if row.epsilon is None else f'epsilon {row.epsilon:g}'}, {row.marks} marks: "
            f"{100 * row.strength.estimate:.0f}%"
            for row in self.rows
        )
        return plots.describe(fig, f"Mark strength against the number of marks, {self.source}: {seen}.")

    def numbers(self) -> dict[str, Any]:
        """Return all rows as plain numbers and text."""
        rows = [
            {
                "epsilon": row.epsilon,
                "privacy": row.statement,
                "marks": row.marks,
                "accuracy": as_json(row.accuracy),
                "strength": as_json(row.strength),
            }
            for row in self.rows
        ]
        facts = {"kind": self.kind, "records": self.records, "seeds": list(self.seeds)}
        return facts | {"source": self.source, "profile": self.profile, "rows": rows}

    def summary(self) -> str:
        """Return what was trained on what, in one line."""
        return (
            f"a {self.kind} mark under DP-SGD ({self.source}; {self.records:,} train records; seeds "
            f"{', '.join(map(str, self.seeds))}; profile {self.profile})"
        )


def strengths(
    data: Dataset,
    make_model: Callable[[], nn.Module],
    key: Key,
    *,
    epsilons: Sequence[float],
    marks: Sequence[int],
    epochs: int,
    seeds: Sequence[int] = (1, 2, 3),
    kind: str = "patch",
    delta: float = 1e-5,
) -> UnderDP:
    """Train on records and marks at each ε, and without privacy, and measure accuracy and mark.

    Parameters
    ----------
    data : Dataset
        Images.
    make_model : callable
        Returns a fresh network of linear, convolution and GroupNorm layers (engine "layers").
    key : Key
    epsilons : sequence of float
        For one record, marks included, at ``delta``.
    marks : sequence of int
        Numbers of marks; 0 shows how often a model without them answers as marked.
    epochs : int
    kind : str
        A key of `labkit.watermark.marks.triggers.KINDS`.

    Raises
    ------
    ValueError
        If there is no seed, or a number of marks is negative.
    """
    if not seeds or not marks or min(marks) < 0:
        raise ValueError(
            f"got seeds={seeds}, marks={marks}; expected at least one of each, and no negative number"
        )
    levels = [*epsilons, None]
    rows = []
    with progress.bar(len(levels) * len(marks) * len(seeds), f"marks under DP-SGD, {data.source}") as shown:
        for epsilon in levels:
            for count in marks:
                runs = []
                for seed in seeds:
                    runs.append(_once(data, make_model, key, epsilon, count, epochs, seed, kind, delta))
                    shown.update()
                rows.append(
                    Row(
                        epsilon,
                        runs[0]["statement"],
                        count,
                        stats.mean_share([run["accuracy"] for run in runs]),
                        stats.mean_share([run["strength"] for run in runs]),
                    )
                )
    return UnderDP(
        tuple(rows), kind, len(data.train_y), tuple(seeds), data.source, profiles.current().name, delta
    )


def _once(
    data: Dataset,
    make_model: Callable[[], nn.Module],
    key: Key,
    epsilon: float | None,
    count: int,
    epochs: int,
    seed: int,
    kind: str,
    delta: float,
) -> dict[str, Any]:
    """Train one model, or read what an earlier call measured."""
    learnt, asked = backdoor.draw_both(kind, key, data, max(count, 1))
    total = len(data.train_y) + count
    x, y = (part[:total] for part in loop.with_marks(data, [learnt]))
    mixed = replace(data, name=f"{data.name} with {count} marks", train_x=x, train_y=y, digest="")
    settings = {
        "data": mixed.digest,
        "triggers": cache.digest(asked.x, asked.y),
        "model": list(model_identity(make_model)),
        "epsilon": epsilon,
        "epochs": epochs,
        "seed": seed,
        "delta": delta,
        "rate": LEARNING_RATE,
    }

    def train() -> dict[str, Any]:
        model = fresh(make_model, seed)
        if epsilon is None:
            recipe = Recipe(epochs=epochs, learning_rate=0.1)
            model, _ = loop.train(model, x, y, recipe, seed=seed)
            statement = NO_PRIVACY
        else:
            batch = max(50, len(y) // 40)
            result = dp.train_private(
                model,
                mixed,
                target_epsilon=epsilon,
                delta=delta,
                expected_batch_size=batch,
                epochs=epochs,
                learning_rate=LEARNING_RATE,
                momentum=0.9,
                engine="layers",
                seed=seed,
            )
            model, statement = result.model, str(result.privacy)
        accuracy = training.evaluate(model, data.test_x, data.test_y).accuracy.estimate
        return {
            "statement": statement,
            "accuracy": accuracy,
            "strength": loop.strength(model, asked).estimate,
        }

    return cache.cached("under-dp", settings, train, code=[_once, loop._run])
