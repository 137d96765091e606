"""What a privacy budget buys: accuracy against ε over several seeds, with intervals, beside the ceiling without privacy."""

from __future__ import annotations

import math
import operator
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import metrics, plots, profiles, progress, stats
from labkit.dp.utility.linear_pipeline import linear_ceiling, linear_pipeline, linear_prior
from labkit.dp.utility.runs import Pipeline, Run, ceiling_once, check_metrics, run_once
from labkit.dp.utility.tradeoff_figures import below, clause_of, short, zero_line
from labkit.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset


MAJORITY = "always the commonest class"


@dataclass(frozen=True, repr=False)
class Tradeoff(Result):
    """Accuracy against ε: see `tradeoff`.

    Attributes
    ----------
    runs : tuple of Run
        One for each ε and seed.
    ceiling : tuple of float
        Accuracies of the same model without privacy, one a seed.
    prior : tuple of float
        Accuracies at ε = 0, one a seed: of the same model trained on no private record, or of the commonest class.
    known : str
        What `prior` knows.
    pipeline, source, profile : str
        What was trained, on which data, under which profile.
    delta : float
    n_train, n_test : int
        Records trained on and records measured on.
    base_rate, commonest : float, str
        Share of the commonest class among the test records, and its name: the accuracy of the majority answer.
    """

    runs: tuple[Run, ...] = field(repr=False)
    ceiling: tuple[float, ...]
    prior: tuple[float, ...]
    known: str
    pipeline: str
    source: str
    profile: str
    delta: float
    n_train: int
    n_test: int
    base_rate: float = math.nan
    commonest: str = "the commonest class"

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was measured of each run besides accuracy."""
        return tuple(self.runs[0].measured.values) if self.runs[0].measured is not None else ()

    def majority(self, metric: str = "accuracy") -> float:
        """Return what always answering the commonest class scores on the test records."""
        if metric == "accuracy":
            return self.base_rate
        self._known(metric)
        return self.runs[0].measured.majority[metric]

    def _known(self, metric: str) -> None:
        if metric not in ("accuracy", *self.metrics):
            raise ValueError(
                f"{metric!r} was not measured; this curve has {', '.join(('accuracy', *self.metrics))}: pass metrics= to tradeoff()"
            )

    def values(self, epsilon: float, metric: str = "accuracy") -> list[float]:
        """Return a metric of each run at one ε."""
        self._known(metric)
        if metric == "accuracy":
            return [run.accuracy for run in self.at(epsilon)]
        return [run.measured.values[metric].estimate for run in self.at(epsilon)]

    def value(self, epsilon: float, metric: str = "accuracy") -> stats.Interval:
        """Return the mean of a metric over seeds at one ε, with its Student t interval."""
        mean = stats.mean_share if metrics.metric(metric).share else stats.mean_interval
        return mean(self.values(epsilon, metric))

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

    @property
    def prior_accuracy(self) -> stats.Interval:
        """Accuracy at ε = 0: mean over seeds, or of a fixed answer over the test records."""
        if len(self.prior) > 1:
            return stats.mean_share(self.prior)
        return stats.clopper_pearson(round(self.prior[0] * self.n_test), self.n_test)

    def assured(self, epsilon: float, *, among: int = 1, metric: str = "accuracy") -> float:
        """Return the accuracy (or another metric) that one model, trained and deployed at this ε, has with 95% confidence.

        A prediction bound over further runs and other test records (`labkit.stats.prediction_bound`), not the lower end
        of an interval of the mean: a single run lies below that a third of the time.

        Parameters
        ----------
        among : int
            Number of ε that one of is chosen by this bound: each bound then holds with 1 - 0.05 / among, so that whichever
            is chosen keeps 95% (Bonferroni).
        metric : str
            For any other than accuracy, the part of test records comes from each run's bootstrap interval.
        """
        values, confidence = self.values(epsilon, metric), 1 - 0.05 / among
        if metric == "accuracy":
            return stats.prediction_bound(values, self.n_test, confidence)
        found = metrics.metric(metric)
        intervals = [run.measured.values[metric] for run in self.at(epsilon)]
        of_records = float(np.mean([((i.high - i.low) / (2 * 1.959964)) ** 2 for i in intervals]))
        return stats.prediction_limit(
            values, of_records, confidence, below=found.larger_is_better, share=found.share
        )

    def measured(self) -> pd.DataFrame:
        """Return one row for each metric and ε: mean over seeds, what one model reaches, and what the majority answer scores."""
        import pandas as pd

        rows = []
        for name in ("accuracy", *self.metrics):
            for epsilon in self.epsilons:
                found, value = metrics.metric(name), self.value(epsilon, name)
                rows.append(
                    {
                        "metric": name,
                        "ε": epsilon,
                        "mean": value.percent() if found.share else str(value),
                        "one model": found.text(self.assured(epsilon, metric=name)),
                        "majority answer": found.text(self.majority(name)),
                    }
                )
        return pd.DataFrame(rows).set_index(["metric", "ε"])

    def summary(self) -> str:
        """Return the curve in one line."""
        points = ", ".join(f"{self.accuracy(e).percent()} at ε = {e:g}" for e in self.epsilons)
        return (
            f"{self.pipeline}: {points}; ε = 0: {self.prior_accuracy.percent()} ({self.known}); no privacy: "
            f"{stats.mean_share(self.ceiling).percent()}; always {self.commonest}: {100 * self.base_rate:.2f}% (δ = {self.delta:g}, add/remove; {self.source}; profile {self.profile})"
        )

    def table(self) -> pd.DataFrame:
        """Return one row for no private record (ε = 0), one for each ε, and one for no privacy (ε = ∞).

        "One model" is `assured` for an ε that was fixed beforehand.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = [
            {
                "ε": 0.0,
                "accuracy": self.prior_accuracy.percent(),
                "one model, at least": "",
                "seeds": len(self.prior),
                "seconds a run": "",
            }
        ]
        rows += [
            {
                "ε": epsilon,
                "accuracy": self.accuracy(epsilon).percent(),
                "one model, at least": f"{100 * self.assured(epsilon):.2f}%",
                "seeds": len(self.at(epsilon)),
                "seconds a run": round(sum(r.seconds for r in self.at(epsilon)) / len(self.at(epsilon)), 1),
            }
            for epsilon in self.epsilons
        ]
        rows.append(
            {
                "ε": float("inf"),
                "accuracy": stats.mean_share(self.ceiling).percent(),
                "one model, at least": "",
                "seeds": len(self.ceiling),
                "seconds a run": "",
            }
        )
        return pd.DataFrame(rows).set_index("ε")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw mean accuracy with its interval over seeds, each run as a dot, and the lines at ε = 0 and without privacy."""
        alone = ax is None
        fig, ax = plots.figure(7, 4.6) if alone else (ax.figure, ax)
        x, bands = self.epsilons, [self.accuracy(epsilon) for epsilon in self.epsilons]
        top, start = 100 * stats.mean_share(self.ceiling).estimate, 100 * self.prior_accuracy.estimate
        ax.axhline(
            top, color=plots.COLOURS[6], linestyle="--", label=f"no privacy: {top:.2f}%", linewidth=1.2
        )
        lowest = 100 * min(b.estimate for b in bands)
        zero_line(ax, start, lowest, f"ε = 0, {self.known}", plots.COLOURS[3])
        ax.plot(x, [100 * b.estimate for b in bands], color=plots.COLOURS[0], label=f"{self.pipeline}: mean")
        if len(self.at(x[0])) > 1:
            low, high = [100 * b.low for b in bands], [100 * b.high for b in bands]
            plots.band(ax, x, low, high, color=plots.COLOURS[0], label="95% interval of the mean (Student t)")
        points = [(run.target_epsilon, 100 * run.accuracy) for run in self.runs]
        style = {"linestyle": "none", "marker": "o", "markersize": 3, "color": plots.COLOURS[1]}
        ax.plot(*zip(*points, strict=True), label="one run", **style)
        ax.set_xscale("log")
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
        title = f"Accuracy against privacy, δ = {self.delta:g}, add/remove, {len(self.at(x[0]))} seeds"
        clause, label = clause_of(self.source), "ε (PLD), smaller is more private"
        if alone:
            below(fig, clause)
        elif clause:  # below all axes there is room for one curve's alone
            label += "\n" + textwrap.fill(clause, 80)
        ax.set(xlabel=label, ylabel="test accuracy (%)", title=title)
        ax.legend(loc="lower right", title=short(self.source.split(";")[0]), title_fontsize=8)
        told = ", ".join(f"{100 * b.estimate:.2f}% at ε = {e:g}" for e, b in zip(x, bands, strict=True))
        return plots.describe(
            fig,
            f"Test accuracy against ε on a log axis, {self.source}: {told}; {start:.2f}% at ε = 0 ({self.known}), "
            f"{top:.2f}% without privacy.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return the runs and what they were made of. Seeds are left out: they would undo the noise."""
        rows = [
            {k: v for k, v in asdict(run).items() if k not in ("seed", "right", "measured")}
            for run in self.runs
        ]
        for row, run in zip(rows, self.runs, strict=True):
            if run.measured is not None:
                row["metrics"] = run.measured.numbers()
        return {key: value for key, value in vars(self).items() if key != "runs"} | {"runs": rows}


def tradeoff(
    dataset: Dataset,
    epsilons: Sequence[float],
    *,
    seeds: int = 5,
    delta: float = 1e-5,
    pipeline: Pipeline = linear_pipeline,
    ceiling: Pipeline = linear_ceiling,
    prior: Pipeline | None = None,
    settings: dict[str, Any] | None = None,
    metrics: Sequence[str] = (),
    positive: int | None = None,
) -> Tradeoff:
    """Measure accuracy at each ε over several seeds, every run cached as soon as it ends.

    Parameters
    ----------
    dataset : Dataset
        Measured on its test records: tune ``settings`` on `Dataset.holdout` first, not here.
    epsilons : sequence of float
    seeds : int
        Runs for each ε. One seed proves little: on MNIST, single runs differ by up to 1.65 points (Bao & Bindschaedler, arXiv
        2508.15141, table 2).
    pipeline : callable
        ``pipeline(dataset, *, target_epsilon, delta, seed, **settings)`` returns a `PrivateResult`.
    ceiling : callable
        ``ceiling(dataset, *, seed)`` returns the result of training the same model without privacy: another pipeline
        needs another ceiling.
    prior : callable, optional
        ``prior(dataset, *, seed)`` returns the result of training the same model on no private record, where the
        pipeline uses public or synthetic knowledge: the line at ε = 0. Default: `linear_prior` for `linear_pipeline`
        on images or their features, else the share of the commonest class.
    settings : dict, optional
        Passed on to ``pipeline``.
    metrics, positive : sequence of str, int, optional
        What to measure of each run besides accuracy, and the class that recalls are of: see `labkit.metrics`.

    Raises
    ------
    ValueError
        If there is no ε or no seed, an ε is not a positive number, or a pipeline comes without its own ceiling. Before
        any training.
    """
    from labkit.dp.utility import features

    epsilons, seeds = _checked(epsilons, seeds)
    check_metrics(metrics, positive, dataset)
    if pipeline is not linear_pipeline and ceiling is linear_ceiling:
        raise ValueError(
            "another pipeline needs its own ceiling: pass ceiling=<function(dataset, *, seed)> that trains the same model "
            "without privacy"
        )
    if dataset.train_x.ndim == 4 and pipeline is linear_pipeline:
        dataset = features.features(dataset)
    if prior is None and pipeline is linear_pipeline and isinstance(dataset, features.FeatureSet):
        prior = linear_prior
    wanted = [(epsilon, seed) for epsilon in epsilons for seed in range(seeds)]
    runs = [
        run_once(pipeline, dataset, epsilon, delta, seed, settings or {}, metrics, positive)
        for epsilon, seed in progress.track(wanted, "private runs")
    ]
    tops = [ceiling_once(ceiling, dataset, seed) for seed in range(seeds)]
    if prior is None:
        start, known = (_majority(dataset),), MAJORITY
    else:
        start, known = tuple(ceiling_once(prior, dataset, seed) for seed in range(seeds)), "no private record"
    name = getattr(pipeline, "__name__", str(pipeline)).replace("_", " ")
    n_train, n_test = len(dataset.train_y), len(dataset.test_y)
    profile = profiles.current().name
    share, commonest = _commonest(dataset)
    return Tradeoff(
        tuple(runs),
        tuple(tops),
        start,
        known,
        name,
        dataset.source,
        profile,
        delta,
        n_train,
        n_test,
        share,
        commonest,
    )


def _commonest(dataset: Dataset) -> tuple[float, str]:
    """Return the share of the commonest class among the test records, and its name."""
    counts = np.bincount(dataset.test_y.numpy())
    return float(counts.max() / counts.sum()), repr(dataset.classes[int(counts.argmax())])


def _checked(epsilons: Sequence[float], seeds: int) -> tuple[list[float], int]:
    """Return ascending ε and the number of seeds, or refuse before anything is trained."""
    found = sorted({float(epsilon) for epsilon in epsilons})
    try:
        count = operator.index(seeds)
    except TypeError:
        count = 0
    if not found or not all(0 < epsilon < float("inf") for epsilon in found) or count < 1:
        raise ValueError(
            f"got epsilons={list(epsilons)} and seeds={seeds}; expected positive finite ε and at least one seed"
        )
    return found, count


def _majority(dataset: Dataset) -> float:
    """Return the share of test records in the commonest class of the train records."""
    commonest = np.bincount(dataset.train_y.numpy()).argmax()
    return float((dataset.test_y == int(commonest)).float().mean())
