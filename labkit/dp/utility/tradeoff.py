"""What a privacy budget buys: accuracy against ε over several seeds, with intervals, beside the ceiling without privacy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, plots, profiles, progress, stats
from labkit.dp.utility.linear_pipeline import linear_ceiling, linear_pipeline
from labkit.dp.utility.runs import Pipeline, Run, ceiling_once, run_once

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from labkit.data import Dataset


@dataclass(frozen=True)
class Tradeoff:
    """Accuracy against ε: see `tradeoff`.

    Attributes
    ----------
    runs : tuple of Run
        One for each ε and seed.
    ceiling : tuple of float
        Accuracies of the same model without privacy, one a seed.
    pipeline, source, profile : str
        What was trained, on which data, under which profile.
    delta : float
    n_train, n_test : int
        Records trained on and records measured on.
    """

    runs: tuple[Run, ...] = field(repr=False)
    ceiling: tuple[float, ...]
    pipeline: str
    source: str
    profile: str
    delta: float
    n_train: int
    n_test: int

    @property
    def epsilons(self) -> list[float]:
        """The ε of the curve, ascending."""
        return sorted({run.target_epsilon for run in self.runs})

    def at(self, epsilon: float) -> list[Run]:
        """Return the runs at one ε.

        Raises
        ------
        KeyError
            If the curve has no such ε.
        """
        found = [run for run in self.runs if run.target_epsilon == epsilon]
        if not found:
            raise KeyError(f"no runs at epsilon {epsilon}; the curve has {self.epsilons}")
        return found

    def accuracy(self, epsilon: float) -> stats.Interval:
        """Return the mean accuracy over seeds at one ε, with its Student t interval."""
        return stats.mean_share([run.accuracy for run in self.at(epsilon)])

    def assured(self, epsilon: float) -> float:
        """Return the accuracy to count on at one ε: the lower of two 95% bounds.

        One is for other seeds (Student t over runs), one for other test records (Clopper-Pearson at the mean).
        """
        over_seeds = self.accuracy(epsilon)
        over_records = stats.clopper_pearson(int(over_seeds.estimate * self.n_test), self.n_test)
        return min(over_seeds.low, over_records.low)

    def table(self) -> pd.DataFrame:
        """Return one row for each ε, and one for no privacy (ε = ∞)."""
        import pandas as pd

        rows = [
            {
                "ε": epsilon,
                "accuracy": self.accuracy(epsilon).percent(),
                "assured": f"{100 * max(0.0, self.assured(epsilon)):.2f}%",
                "seeds": len(self.at(epsilon)),
                "seconds a run": round(sum(r.seconds for r in self.at(epsilon)) / len(self.at(epsilon)), 1),
            }
            for epsilon in self.epsilons
        ]
        rows.append(
            {
                "ε": float("inf"),
                "accuracy": stats.mean_share(self.ceiling).percent(),
                "assured": "",
                "seeds": len(self.ceiling),
                "seconds a run": "",
            }
        )
        return pd.DataFrame(rows).set_index("ε")

    def plot(self) -> Figure:
        """Draw mean accuracy with its interval over seeds, each run as a dot, and the ceiling without privacy."""
        fig, ax = plots.figure(7, 4.2)
        x, bands = self.epsilons, [self.accuracy(epsilon) for epsilon in self.epsilons]
        ceiling = 100 * stats.mean_interval(self.ceiling).estimate
        ax.axhline(
            ceiling,
            color=plots.COLOURS[6],
            linestyle="--",
            label=f"no privacy: {ceiling:.2f}%",
            linewidth=1.2,
        )
        ax.plot(x, [100 * b.estimate for b in bands], color=plots.COLOURS[0], label=f"{self.pipeline}: mean")
        if len(self.at(x[0])) > 1:
            low, high = [100 * b.low for b in bands], [100 * b.high for b in bands]
            plots.band(ax, x, low, high, color=plots.COLOURS[0], label="95% interval (Student t)")
        ax.plot(
            [run.target_epsilon for run in self.runs],
            [100 * run.accuracy for run in self.runs],
            linestyle="none",
            marker="o",
            markersize=3,
            color=plots.COLOURS[1],
            label="one run",
        )
        ax.set_xscale("log")
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
        title = f"Accuracy against privacy, δ = {self.delta:g}, add/remove, {len(self.at(x[0]))} seeds"
        ax.set(xlabel="ε (PLD), smaller is more private", ylabel="test accuracy (%)", title=title)
        ax.legend(loc="lower right", title=_short(self.source.split(";")[0]), title_fontsize=8)
        points = ", ".join(f"{100 * b.estimate:.2f}% at ε = {e:g}" for e, b in zip(x, bands, strict=True))
        return plots.describe(
            fig,
            f"Test accuracy against ε on a log axis, {self.source}: {points}; the same model without privacy reaches "
            f"{ceiling:.2f}%.",
        )

    def save(self, path: str | Path) -> Path:
        """Write the runs and what they were made of as JSON. Seeds are left out: they would undo the noise."""
        rows = [asdict(run) for run in self.runs]
        for row in rows:
            row.pop("seed")
        facts = {key: value for key, value in vars(self).items() if key != "runs"} | {"runs": rows}
        with cache.atomic_path(path) as temporary:
            temporary.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _short(source: str, most: int = 90) -> str:
    return source if len(source) <= most else source[: most - 1] + "…"


def tradeoff(
    dataset: Dataset,
    epsilons: Sequence[float],
    *,
    seeds: int = 5,
    delta: float = 1e-5,
    pipeline: Pipeline = linear_pipeline,
    ceiling: Pipeline = linear_ceiling,
    settings: dict[str, Any] | None = None,
) -> Tradeoff:
    """Measure accuracy at each ε over several seeds, every run cached as soon as it ends.

    Parameters
    ----------
    dataset : Dataset
        Measured on its test records: tune ``settings`` on `Dataset.holdout` first, not here.
    epsilons : sequence of float
    seeds : int
        Runs for each ε. One seed proves little: on MNIST, single runs differ by up to 1.65 points (R+R, ACSAC 2024).
    pipeline : callable
        ``pipeline(dataset, *, target_epsilon, delta, seed, **settings)`` returns a `PrivateResult`.
    ceiling : callable
        ``ceiling(dataset, *, seed)`` returns the result of training the same model without privacy: another pipeline
        needs another ceiling.
    settings : dict, optional
        Passed on to ``pipeline``.

    Raises
    ------
    ValueError
        If there is no ε or no seed, an ε is not positive, or a pipeline comes without its own ceiling.
    """
    from labkit.dp.utility import features

    epsilons = sorted({float(epsilon) for epsilon in epsilons})
    if not epsilons or epsilons[0] <= 0 or seeds < 1:
        raise ValueError(
            f"got epsilons={epsilons} and seeds={seeds}; expected positive ε and at least one seed"
        )
    if dataset.train_x.ndim == 4 and pipeline is linear_pipeline:
        dataset = features.features(dataset)
    if pipeline is not linear_pipeline and ceiling is linear_ceiling:
        raise ValueError(
            "another pipeline needs its own ceiling: pass ceiling=<function(dataset, *, seed)> that trains the same model "
            "without privacy"
        )
    wanted = [(epsilon, seed) for epsilon in epsilons for seed in range(seeds)]
    runs = [
        run_once(pipeline, dataset, epsilon, delta, seed, settings or {})
        for epsilon, seed in progress.track(wanted, "private runs")
    ]
    tops = [ceiling_once(ceiling, dataset, seed) for seed in range(seeds)]
    name = getattr(pipeline, "__name__", str(pipeline)).replace("_", " ")
    n_train, n_test = len(dataset.train_y), len(dataset.test_y)
    return Tradeoff(
        tuple(runs), tuple(tops), name, dataset.source, profiles.current().name, delta, n_train, n_test
    )


def compare(curves: Sequence[Tradeoff]) -> Figure:
    """Draw several curves on the same axes, each with its interval over seeds and its ceiling without privacy.

    Raises
    ------
    ValueError
        If there are no curves, or they differ in data or δ: those are not comparable.
    """
    if not curves or len({(curve.source.split(";")[0], curve.n_test, curve.delta) for curve in curves}) != 1:
        raise ValueError("expected at least one curve, all on the same data and δ: measure them in one run")
    fig, ax = plots.figure(7.2, 4.4)
    told = []
    for colour, line, curve in zip(plots.COLOURS, plots.LINES, curves, strict=False):
        bands = [curve.accuracy(epsilon) for epsilon in curve.epsilons]
        means, tops = [100 * b.estimate for b in bands], 100 * stats.mean_interval(curve.ceiling).estimate
        errors = [[m - 100 * b.low for m, b in zip(means, bands, strict=True)]] * 2
        ax.errorbar(
            curve.epsilons,
            means,
            yerr=errors,
            color=colour,
            linestyle=line,
            marker="o",
            capsize=3,
            label=curve.pipeline,
        )
        ax.axhline(
            tops,
            color=colour,
            linestyle=(3 * len(told), (3, 3)),  # each starts elsewhere: lines at one height stay two lines
            linewidth=1.2,
            label=f"{curve.pipeline}, no privacy: {tops:.2f}%",
        )
        points = ", ".join(f"{m:.1f}% at ε = {e:g}" for e, m in zip(curve.epsilons, means, strict=True))
        told.append(f"{curve.pipeline} {points}, {tops:.1f}% without privacy")
    plots.epsilon_axis(ax, f"ε (PLD, δ = {curves[0].delta:g}, Poisson, add/remove); smaller is more private")
    seeds = len(curves[0].at(curves[0].epsilons[0]))
    ax.set(
        ylabel="test accuracy (%)",
        title=f"Mean over {seeds} seeds, 95% interval (Student t), {curves[0].profile}",
    )
    ax.legend(loc="lower right", title=_short(curves[0].source.split(";")[0]), title_fontsize=8)
    return plots.describe(fig, "Test accuracy against ε on a log axis: " + "; ".join(told) + ".")
