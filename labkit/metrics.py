"""Metrics by name, with what the majority answer would score: on 5% fraud, an accuracy of 95% is no achievement.

=================  ==========================================================================  ============================
name               what it is                                                                  the majority answer scores
=================  ==========================================================================  ============================
accuracy           share of right answers                                                      share of the commonest class
balanced accuracy  mean over classes of the share of each that is recognised                   1 / classes
auc                area under the ROC curve; over classes, the mean of one against the rest    0.5
recall at X% fpr   share of the positive class found where X% of the others are flagged        X / 100
recall at X% precision  share of it found where X% of those flagged are right                  0, or 1 if X% are positive
log loss           mean of -log of the probability given to the right class (smaller)          entropy of the class shares
cost               mean cost of an answer by a cost matrix (smaller)                           of the cheapest fixed answer
=================  ==========================================================================  ============================

Computed by scikit-learn's functions. The positive class is the last (1 of 0 and 1), or ``positive=``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import stats
from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT = ("accuracy", "balanced accuracy", "auc", "recall at 5% fpr", "log loss")
RESAMPLES = 200
AT = re.compile(r"recall at (\d+(?:\.\d+)?)% (fpr|precision)")


@dataclass(frozen=True)
class Task:
    """What a metric is computed of.

    Attributes
    ----------
    y : int array of shape (n,)
    p : float array of shape (n, classes)
        Probabilities.
    positive : int
        The class that recalls are of.
    costs : array of shape (classes, classes) or None
        ``costs[right, answered]``.
    """

    y: np.ndarray
    p: np.ndarray
    positive: int
    costs: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Task:
        return Task(self.y[rows], self.p[rows], self.positive, self.costs)

    @property
    def answers(self) -> np.ndarray:
        """The answered class; with a cost matrix, that of least expected cost."""
        return self.p.argmax(1) if self.costs is None else (self.p @ self.costs).argmin(1)


@dataclass(frozen=True)
class Metric:
    """A figure of a classifier: its function of a `Task`, whether more is better, and what the majority answer scores."""

    name: str
    of: Callable[[Task], float]
    majority: Callable[[Task], float]
    larger_is_better: bool = True
    share: bool = True  # lies in [0, 1]

    def better(self, value: float, than: float) -> bool:
        """Whether ``value`` is strictly better."""
        return value > than if self.larger_is_better else value < than

    def text(self, value: float) -> str:
        """Return a value as people read it."""
        return f"{100 * value:.2f}%" if self.share else f"{value:.4g}"


def _shares(task: Task) -> np.ndarray:
    return np.bincount(task.y, minlength=task.p.shape[1]) / len(task.y)


def _accuracy(task: Task) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(task.y, task.p.argmax(1)))


def _balanced(task: Task) -> float:
    from sklearn.metrics import recall_score

    present = np.unique(task.y)  # a class without a record has no recall
    return float(recall_score(task.y, task.p.argmax(1), labels=present, average="macro", zero_division=0))


def _auc(task: Task) -> float:
    from sklearn.metrics import roc_auc_score

    if task.p.shape[1] == 2:
        return float(roc_auc_score(task.y, task.p[:, 1]))
    each = [roc_auc_score(task.y == c, task.p[:, c]) for c in np.unique(task.y)]
    return float(np.mean(each))


def _log_loss(task: Task) -> float:
    from sklearn.metrics import log_loss

    return float(log_loss(task.y, task.p, labels=np.arange(task.p.shape[1])))


def _entropy(task: Task) -> float:
    shares = _shares(task)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def _cost(task: Task) -> float:
    return float(task.costs[task.y, task.answers].mean())


def _recall_at(level: float, kind: str) -> Callable[[Task], float]:
    def recall(task: Task) -> float:
        from sklearn.metrics import precision_recall_curve, roc_curve

        truth, scores = task.y == task.positive, task.p[:, task.positive]
        if kind == "fpr":
            fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
            return float(tpr[fpr <= level + 1e-12].max())
        precision, found, _ = precision_recall_curve(truth, scores)
        return float(found[precision >= level - 1e-12].max())

    return recall


def _recall_of_chance(level: float, kind: str) -> Callable[[Task], float]:
    return lambda task: level if kind == "fpr" else float(_shares(task)[task.positive] >= level)


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", _accuracy, lambda task: float(_shares(task).max())),
    "balanced accuracy": Metric("balanced accuracy", _balanced, lambda task: 1 / len(np.unique(task.y))),
    "auc": Metric("auc", _auc, lambda task: 0.5),
    "log loss": Metric("log loss", _log_loss, _entropy, larger_is_better=False, share=False),
    "cost": Metric(
        "cost",
        _cost,
        lambda task: float((_shares(task) @ task.costs).min()),
        larger_is_better=False,
        share=False,
    ),
}


def metric(name: str) -> Metric:
    """Return a metric by its name: a key of `METRICS`, or "recall at 5% fpr", "recall at 90% precision".

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> metric("recall at 5% fpr").majority(Task(np.array([0, 1]), np.eye(2), 1))
    0.05
    """
    if name in METRICS:
        return METRICS[name]
    found = AT.fullmatch(name)
    if found and 0 < float(found[1]) <= (99.999 if found[2] == "fpr" else 100):
        level, kind = float(found[1]) / 100, found[2]
        return Metric(name, _recall_at(level, kind), _recall_of_chance(level, kind))
    raise ValueError(
        f"metric {name!r} is unknown; expected one of {', '.join(METRICS)}, 'recall at X% fpr' or 'recall at X% precision'"
    )


@dataclass(frozen=True)
class Measured(Result):
    """Figures of one model on one set of records, beside what the majority answer scores: see `measure`.

    Attributes
    ----------
    values : dict of Interval
    majority : dict of float
        What always giving the commonest class scores.
    base_rate : float
        Share of the commonest class.
    commonest : int
    n : int
        Number of records.
    source : str
    """

    values: dict[str, stats.Interval]
    majority: dict[str, float]
    base_rate: float
    commonest: int
    n: int
    source: str = ""
    classes: tuple[str, ...] = field(default=(), repr=False)

    def useless(self) -> list[str]:
        """Return the metrics by which the model is not shown to be better than the majority answer."""
        return [
            name
            for name, value in self.values.items()
            if not metric(name).better(
                value.low if metric(name).larger_is_better else value.high, self.majority[name]
            )
        ]

    def summary(self) -> str:
        """Return the figures with the base rate beside them."""
        figures = ", ".join(f"{name} {self._text(name)}" for name in self.values)
        where = f"; {self.source}" if self.source else ""
        return f"{figures}; always answering {self._common()} is right on {100 * self.base_rate:.2f}% ({self.n:,} records{where})"

    def _common(self) -> str:
        return self.classes[self.commonest] if self.classes else f"class {self.commonest}"

    def _text(self, name: str) -> str:
        value = self.values[name]
        return value.percent() if metric(name).share else str(value)

    def table(self) -> pd.DataFrame:
        """Return one row a metric: its value with its interval, and the majority answer's."""
        import pandas as pd

        rows = [
            {
                "metric": name,
                "value [95% interval]": self._text(name),
                "majority answer": metric(name).text(self.majority[name]),
                "better": "no" if name in self.useless() else "yes",
            }
            for name in self.values
        ]
        return pd.DataFrame(rows).set_index("metric")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw each share with its interval, and the majority answer's as a line across."""
        from labkit import plots

        fig, ax = plots.figure(6, 1 + 0.5 * len(self.values)) if ax is None else (ax.figure, ax)
        shown = [name for name in self.values if metric(name).share]
        for row, name in enumerate(shown):
            value = self.values[name]
            ax.plot([100 * value.low, 100 * value.high], [row, row], color=plots.COLOURS[0])
            ax.plot(
                100 * value.estimate,
                row,
                "o",
                color=plots.COLOURS[0],
                label="model, 95% interval" if row == 0 else None,
            )
            ax.plot(
                100 * self.majority[name],
                row,
                "|",
                markersize=16,
                color=plots.COLOURS[1],
                label="majority answer" if row == 0 else None,
            )
        ax.set_yticks(range(len(shown)), shown)
        ax.set(xlabel="%", title=f"{self.n:,} records, {100 * self.base_rate:.1f}% {self._common()}")
        ax.legend()
        return plots.describe(fig, f"Metrics of a model: {self.summary()}.")

    def numbers(self) -> dict[str, Any]:
        """Return all figures, with the majority answer's."""
        return {
            **{name: as_json(value) for name, value in self.values.items()},
            "majority": dict(self.majority),
            "base_rate": self.base_rate,
            "n": self.n,
            "source": self.source,
        }


def measure(
    y: Any,
    *,
    logits: Any = None,
    probabilities: Any = None,
    metrics: Sequence[str] = DEFAULT,
    positive: int | None = None,
    costs: Any = None,
    classes: Sequence[str] = (),
    source: str = "",
    seed: int = 0,
) -> Measured:
    """Measure answers by name, each with its interval over records and the majority answer's value.

    Parameters
    ----------
    y : int array of shape (n,)
    logits, probabilities : array of shape (n, classes)
        Exactly one of them.
    metrics : sequence of str
        See `metric`. Accuracy has its Clopper-Pearson interval, all others a percentile bootstrap over records.
    positive : int, optional
        The class that recalls are of; default: the last.
    costs : array of shape (classes, classes), optional
        ``costs[right, answered]``; "cost" then takes the answer of least expected cost.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        If shapes do not fit, a metric is unknown, or one cannot be computed on these records.

    Examples
    --------
    >>> y = np.array([0] * 95 + [1] * 5)
    >>> always_zero = np.tile([0.9, 0.1], (100, 1))
    >>> found = measure(y, probabilities=always_zero, metrics=("accuracy", "recall at 5% fpr"))
    >>> found.values["accuracy"].estimate, found.values["recall at 5% fpr"].estimate, found.useless()
    (0.95, 0.0, ['accuracy', 'recall at 5% fpr'])
    """
    chosen = [metric(name) for name in metrics]
    task = _task(y, logits, probabilities, positive, costs)
    if "cost" in metrics and costs is None:
        raise ValueError("metric 'cost' needs costs=, an array (classes, classes): costs[right, answered]")
    if len(np.unique(task.y)) < 2:
        raise ValueError(
            f"all {len(task.y):,} records are of class {int(task.y[0])}; expected at least two classes: metrics compare them"
        )
    shares = _shares(task)
    return Measured(
        values={m.name: _interval(m, task, seed) for m in chosen},
        majority={m.name: m.majority(task) for m in chosen},
        base_rate=float(shares.max()),
        commonest=int(shares.argmax()),
        n=len(task.y),
        source=source,
        classes=tuple(classes),
    )


def _task(y: Any, logits: Any, probabilities: Any, positive: int | None, costs: Any) -> Task:
    """Check the answers and return them as probabilities."""
    if (logits is None) == (probabilities is None):
        raise ValueError("give exactly one of logits= and probabilities=")
    labels, given = np.asarray(y), np.asarray(probabilities if logits is None else logits, dtype=np.float64)
    if labels.dtype.kind not in "iu" or given.ndim != 2 or labels.shape != given.shape[:1] or not len(labels):
        raise ValueError(
            f"got labels of {labels.dtype} {labels.shape} and answers {given.shape}; expected integers (n,) and (n, classes)"
        )
    if not np.isfinite(given).all():
        raise ValueError("the answers hold NaN or infinity: the model diverged")
    if labels.min() < 0 or labels.max() >= given.shape[1]:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}; expected 0 to {given.shape[1] - 1}"
        )
    if logits is not None:
        given = np.exp(given - given.max(1, keepdims=True))
        given = given / given.sum(1, keepdims=True)
    elif given.min() < 0 or (np.abs(given.sum(1) - 1) > 1e-3).any():
        raise ValueError("the probabilities are negative or do not sum to 1: pass logits=")
    matrix = None if costs is None else np.asarray(costs, dtype=np.float64)
    if matrix is not None and matrix.shape != (given.shape[1],) * 2:
        raise ValueError(
            f"costs has shape {matrix.shape}; expected {(given.shape[1],) * 2}: costs[right, answered]"
        )
    which = given.shape[1] - 1 if positive is None else positive
    if not 0 <= which < given.shape[1]:
        raise ValueError(f"positive is {positive}; expected a class from 0 to {given.shape[1] - 1}")
    return Task(labels.astype(np.int64), given, which, matrix)


def _interval(chosen: Metric, task: Task, seed: int) -> stats.Interval:
    """Return a metric with its interval over records; resamples draw within each class, so that none is ever empty."""
    if chosen.name == "accuracy":
        return stats.clopper_pearson(int((task.p.argmax(1) == task.y).sum()), len(task.y))
    rng, of_class = np.random.default_rng(seed), [np.flatnonzero(task.y == c) for c in np.unique(task.y)]
    draws = [
        chosen.of(task.take(np.concatenate([rng.choice(rows, len(rows)) for rows in of_class])))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    method = f"percentile bootstrap within classes, {RESAMPLES} resamples of {len(task.y)}"
    return stats.Interval(chosen.of(task), float(low), float(high), 0.95, method)
