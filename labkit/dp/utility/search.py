"""Choose settings and a budget: a search on records held out for it, what that search costs, and the decision.

`tradeoff` and `decide` live in :mod:`labkit.dp.utility.tradeoff` and :mod:`labkit.dp.utility.choice`; this module is their front door.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit import metrics, plots, profiles, progress
from labkit.dp.utility.choice import decide
from labkit.dp.utility.decision import Decision, NoDecision
from labkit.dp.utility.linear_pipeline import linear_pipeline
from labkit.dp.utility.runs import Pipeline, Run, check_metrics, run_once
from labkit.dp.utility.tradeoff import Tradeoff, tradeoff
from labkit.results import Result

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset

__all__ = [
    "Decision",
    "NoDecision",
    "Range",
    "Search",
    "Tradeoff",
    "decide",
    "linear_pipeline",
    "pareto_front",
    "search",
    "tradeoff",
]


@dataclass(frozen=True)
class Range:
    """Values to try for one setting: from ``low`` to ``high``, evenly in the logarithm."""

    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"range from {self.low} to {self.high}; expected 0 < low <= high")

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=True)
        return trial.suggest_float(name, self.low, self.high, log=True)


# The learning rate follows from noise, clipping norm, steps and batch (`linear_learning_rate`): one setting less to pay for.
SPACE = {
    "max_grad_norm": Range(0.1, 3),
    "steps": Range(40, 300, whole=True),
    "sample_rate": Range(0.05, 0.5),
}


def pareto_front(epsilons: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Return which runs no other run beats: none has at most their ε and at least their accuracy, one of them strictly.

    Parameters
    ----------
    epsilons, accuracies : sequences of the same length
        Spent (smaller is better) and reached (larger is better).

    Returns
    -------
    list of int
        Positions, by ascending ε. Equal points stay together.
    """
    points = list(zip(epsilons, accuracies, strict=True))
    kept = [
        i
        for i, (e, a) in enumerate(points)
        if not any(f <= e and b >= a and (f, b) != (e, a) for f, b in points)
    ]
    return sorted(kept, key=lambda i: (points[i], i))


@dataclass(frozen=True, repr=False)
class Search(Result):
    """Settings that were tried, and the best of them: see `search`.

    Attributes
    ----------
    runs : tuple of Run
        One a trial; accuracies, and the metric, are on the validation split.
    source, profile : str
    delta : float
    n_train : int
    sampler : str
        Who proposed the settings.
    failed : tuple of (dict, str)
        Settings of trials that ended in an error, and the error: a loss that became NaN, for example. They looked at the
        records, too, so `cost` counts them.
    metric : str
        What settings are chosen by, beside ε: see `labkit.metrics`.
    """

    runs: tuple[Run, ...] = field(repr=False)
    source: str
    profile: str
    delta: float
    n_train: int
    sampler: str
    failed: tuple[tuple[dict[str, Any], str], ...] = field(default=(), repr=False)
    metric: str = "accuracy"

    def value(self, run: Run) -> float:
        """Return a run's figure by the metric that this search chooses by."""
        return _value(run, self.metric)

    @property
    def front(self) -> list[Run]:
        """The runs that no other run beats in both ε and the metric on validation records, by ascending ε."""
        sign = 1 if metrics.metric(self.metric).larger_is_better else -1
        best = pareto_front(
            [r.spent_epsilon for r in self.runs], [sign * self.value(run) for run in self.runs]
        )
        return [self.runs[i] for i in best]

    def settings(self, max_epsilon: float = math.inf) -> dict[str, Any]:
        """Return the settings of the best run on the front within ``max_epsilon``.

        Raises
        ------
        ValueError
            If no run spent that little.
        """
        within = [run for run in self.front if run.spent_epsilon <= max_epsilon]
        if not within:
            raise ValueError(
                f"no trial spent at most ε = {max_epsilon:g}; the least is {self.front[0].spent_epsilon:.3g}: "
                "search again with a lower end of epsilons"
            )
        return dict(within[-1].settings)

    def cost(self, epsilon: float | None = None) -> pd.DataFrame:
        """Return what publishing the chosen model costs, by how the settings were found.

        Parameters
        ----------
        epsilon : float, optional
            Of the run that is published; the dearest trial when left out.

        Notes
        -----
        The first row is only true where the trials never touched the private records (they ran on synthetic or public
        ones). "All released" composes all trials of this search (a failed one as the dearest); strictly, their ε must have been fixed beforehand. The
        rows of "another search" say what a search would have cost whose trials all spend the ε of the published run; the
        last is Papernot & Steinke (arXiv 2110.03620, theorem 2): a number of trials drawn from a geometric law, settings
        drawn without a look at other trials (this search, Optuna's, looks), and only the best run published. None counts
        the score: where validation records are private as well, they need a split of their own, outside the statement.
        """
        import pandas as pd

        from labkit.dp.accounting.statement import TuningCost, privacy_statement

        dearest = max(self.runs, key=lambda run: run.spent_epsilon)
        wanted = dearest.target_epsilon if epsilon is None else epsilon
        chosen = min(self.runs, key=lambda run: abs(run.target_epsilon - wanted))
        k, n, delta = len(self.runs) + len(self.failed), self.n_train, self.delta
        ways = {
            "tuned on other records": privacy_statement(chosen.events, delta=delta, n=n),
            f"this search, all {k} trials released": privacy_statement(
                [event for run in (*self.runs, *(dearest for _ in self.failed)) for event in run.events],
                delta=delta,
                n=n,
            ),
            f"another search: {k} trials like the chosen one": privacy_statement(
                chosen.events, delta=delta, n=n, tuning=TuningCost(k)
            ),
        }
        if k > 1:  # a random number with mean 1 leaves nothing random
            ways[f"another search: random trials, {k} on average"] = privacy_statement(
                chosen.events, delta=delta, n=n, tuning=TuningCost(k, "geometric")
            )
        rows = [
            {"settings found by": way, "ε": s.epsilon, "accountant": next(iter(s.epsilons))}
            for way, s in ways.items()
        ]
        return pd.DataFrame(rows).set_index("settings found by")

    def table(self) -> pd.DataFrame:
        """Return one row a trial, best first; ``front`` marks those that nothing beats."""
        import pandas as pd

        best, name = {id(run) for run in self.front}, f"validation {self.metric}"
        rows = [
            {"ε": r.spent_epsilon, name: self.value(r), **r.settings, "front": id(r) in best}
            for r in self.runs
        ]
        smaller = not metrics.metric(self.metric).larger_is_better
        return pd.DataFrame(rows).sort_values(name, ascending=smaller, ignore_index=True)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw every trial, and the front as a staircase."""
        fig, ax = plots.figure(7, 4) if ax is None else (ax.figure, ax)
        found = metrics.metric(self.metric)
        scale = 100 if found.share else 1
        ax.plot(
            [r.spent_epsilon for r in self.runs],
            [scale * self.value(r) for r in self.runs],
            linestyle="none",
            marker="o",
            markersize=4,
            color=plots.COLOURS[4],
            label="a trial",
        )
        x, y = [r.spent_epsilon for r in self.front], [scale * self.value(r) for r in self.front]
        ax.step(x, y, where="post", marker="s", markersize=5, color=plots.COLOURS[1], label="Pareto front")
        plots.epsilon_axis(ax, "ε spent (PLD)")
        if found.share:
            ax.set_ylim(bottom=max(min(100 * self.value(r) for r in self.runs), min(y) - 3) - 0.3)
        ax.set(ylabel=f"validation {self.metric}{' (%)' if found.share else ''}")
        title = f"{len(self.runs)} trials of {self.sampler}, one run of one seed each, δ = {self.delta:g}"
        ax.set_title(title, fontsize=10)
        corner = "lower right" if found.larger_is_better else "upper right"
        ax.legend(loc=corner, title=self.source.split(";")[0], title_fontsize=8)
        steps = ", ".join(f"{found.text(self.value(r))} at ε = {r.spent_epsilon:.2f}" for r in self.front)
        return plots.describe(
            fig,
            f"Validation {self.metric} of {len(self.runs)} trials against ε; the Pareto front is {steps}.",
        )

    def summary(self) -> str:
        """Return how many trials there were and the front, in one line."""
        text = metrics.metric(self.metric).text
        points = ", ".join(f"{text(self.value(run))} at ε = {run.spent_epsilon:.2f}" for run in self.front)
        first = self.runs[0].measured
        known = f"; the majority answer has {text(first.majority[self.metric])}" if first else ""
        lost = f", {len(self.failed)} failed" if self.failed else ""
        return (
            f"{len(self.runs)} trials of {self.sampler}{lost}; front: {points} (validation {self.metric}{known}, δ = {self.delta:g}; "
            f"{self.source}; profile {self.profile})"
        )

    def numbers(self) -> dict[str, Any]:
        """Return all trials, without their seed: it would undo the noise."""
        unshown = ("seed", "right", "measured")
        rows = [{k: v for k, v in asdict(run).items() if k not in unshown} for run in self.runs]
        for row, run in zip(rows, self.runs, strict=True):
            row[self.metric] = self.value(run)
        return {key: value for key, value in vars(self).items() if key != "runs"} | {"runs": rows}


def search(
    dataset: Dataset,
    *,
    epsilons: tuple[float, float] = (0.5, 8.0),
    trials: int = 20,
    space: dict[str, Range] | None = None,
    validation: int | None = None,
    delta: float = 1e-5,
    pipeline: Pipeline = linear_pipeline,
    seed: int = 0,
    storage: str | None = None,
    study_name: str = "labkit",
    metric: str = "accuracy",
    positive: int | None = None,
) -> Search:
    """Search settings for little ε and high accuracy (or another metric) at once, on train records held out for it.

    Optuna's multi-objective tree-structured Parzen estimator proposes ε and settings; one private run answers each
    proposal. The data set's test records are dropped before the first trial.

    Parameters
    ----------
    epsilons : (low, high)
        Range of the budget, searched like a setting.
    space : dict of Range, optional
        Settings of ``pipeline``; `SPACE` by default, which is for `linear_pipeline`.
    validation : int, optional
        Train records to hold out; a sixth of them by default.
    seed : int
        Of split, sampler and training.
    storage, study_name : str, optional
        An Optuna storage that several searches share, such as ``sqlite:////shared/search.db`` or a path to a journal file
        on a shared folder: each asks for ``trials`` more, knows what the others found, and returns all of the study's. Give
        each its own ``seed``, which is the sampler's alone then: all train and measure on the split of seed 0.
    metric, positive : str, int, optional
        What to choose by instead of accuracy, and the class that recalls are of: see `labkit.metrics`. Where one class is
        rare, the most accurate settings may be those that never find it.

    Returns
    -------
    Search
        Every trial is cached when it ends: an interrupted search goes on where it stopped.

    Raises
    ------
    ValueError
        If there is no trial, a range is empty, a pipeline comes without its own space, no run could be measured by the
        metric, or the shared study was searched by another. Before any training.
    RuntimeError
        If every trial failed. A trial that fails alone is told as failed, and the search goes on.
    """
    import optuna

    from labkit.dp.utility import features

    if trials < 1:
        raise ValueError(f"trials is {trials}; expected at least 1")
    if space is None and pipeline is not linear_pipeline:
        raise ValueError("another pipeline needs its own space: pass space={<setting>: Range(low, high)}")
    budget, space = Range(*epsilons), SPACE if space is None else space
    if dataset.train_x.ndim == 4 and pipeline is linear_pipeline:
        dataset = features.features(dataset)
    own = 0 if storage else seed  # of split and training
    split = dataset.holdout(validation or len(dataset.train_y) // 6, seed=own)
    further = () if metric == "accuracy" else (metric,)
    check_metrics(further, positive, split)
    once = partial(run_once, pipeline, split, delta=delta, seed=own, metrics=further, positive=positive)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = _study(seed, trials, storage, study_name, metric)
        runs: list[Run] = []
        failed: list[tuple[dict[str, Any], str]] = []
        for _ in progress.track(range(trials), "trials"):
            trial = study.ask()
            epsilon = round(budget.suggest(trial, "epsilon"), 2)
            settings = {name: values.suggest(trial, name) for name, values in space.items()}
            try:
                run = once(target_epsilon=epsilon, settings=settings)
            except (ArithmeticError, ValueError, RuntimeError) as error:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                failed.append(({"epsilon": epsilon, **settings}, f"{type(error).__name__}: {error}"))
                continue
            study.tell(trial, (run.spent_epsilon, _value(run, metric)))
            runs.append(run)
        if storage:
            runs, failed = _of_all(study, once, tuple(space), failed)
    finally:
        optuna.logging.set_verbosity(verbosity)
    if not runs:
        raise RuntimeError(f"all {trials} trials failed; the last with {failed[-1][0]}: {failed[-1][1]}")
    profile = profiles.current().name
    return Search(
        tuple(runs), split.source, profile, delta, len(split.train_y), "TPE (Optuna)", tuple(failed), metric
    )


def _value(run: Run, metric: str) -> float:
    return run.accuracy if metric == "accuracy" else run.measured.values[metric].estimate


def _study(seed: int, trials: int, storage: str | None, name: str, metric: str) -> optuna.Study:
    """Return a study of ε against a metric, in memory or in a storage that others write to as well."""
    import optuna

    where: Any = storage
    if storage and "://" not in storage:
        from optuna.storages.journal import JournalFileBackend

        where = optuna.storages.JournalStorage(JournalFileBackend(storage))
    if storage and name in optuna.get_all_study_names(where):
        known = optuna.load_study(study_name=name, storage=where).user_attrs.get("metric", "accuracy")
        if known != metric:
            raise ValueError(
                f"study {name!r} in {storage} was searched by {known}, not by {metric}: give another study_name"
            )
    study = optuna.create_study(
        directions=["minimize", "maximize" if metrics.metric(metric).larger_is_better else "minimize"],
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(5, trials // 3)),
        storage=where,
        study_name=name if storage else None,
        load_if_exists=storage is not None,
    )
    study.set_user_attr("metric", metric)
    return study


def _of_all(
    study: optuna.Study,
    once: Callable[..., Run],
    names: tuple[str, ...],
    failed: list[tuple[dict[str, Any], str]],
) -> tuple[list[Run], list[tuple[dict[str, Any], str]]]:
    """Return the runs of everybody's trials (from a shared cache, or made again) and all that failed."""
    from optuna.trial import TrialState

    runs, known = [], {str(settings) for settings, _ in failed}
    for trial in study.get_trials(deepcopy=False):
        settings = {
            "epsilon": round(trial.params.get("epsilon", 0.0), 2),
            **{n: trial.params.get(n) for n in names},
        }
        if trial.state == TrialState.COMPLETE:
            epsilon = settings.pop("epsilon")
            runs.append(once(target_epsilon=epsilon, settings=settings))
        elif trial.state == TrialState.FAIL and str(settings) not in known:
            failed.append((settings, "in another search of this study"))
    return runs, failed
