"""One cached run of any private pipeline, reduced to what a curve needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import cache, profiles

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.accounting.events import Event
    from labkit.metrics import Measured


Pipeline = Callable[..., Any]


@dataclass(frozen=True)
class Run:
    """One private training run, reduced to what a curve needs.

    Attributes
    ----------
    target_epsilon, spent_epsilon : float
        Asked for, and spent by PLD.
    seed : int
    accuracy : float
        Share of correct answers on the data set's test records.
    right : bool array of shape (n_test,) or None
        Which test records were answered correctly: pairs two runs record by record. None where the model cannot be asked.
    seconds : float
    privacy : str
        The statement in full.
    events : tuple of Event
        All that the run released from its records, for composing it with others.
    measured : Measured or None
        Further metrics on the test records, where they were asked for.
    settings : dict
        Arguments that were passed to the pipeline besides ε, δ and seed.
    """

    target_epsilon: float
    spent_epsilon: float
    seed: int
    accuracy: float
    seconds: float
    privacy: str
    events: tuple[Event, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    right: np.ndarray | None = field(default=None, repr=False, compare=False)
    measured: Measured | None = field(default=None, repr=False, compare=False)


def run_once(
    pipeline: Pipeline,
    dataset: Dataset,
    target_epsilon: float,
    delta: float,
    seed: int,
    settings: dict,
    metrics: Sequence[str] = (),
    positive: int | None = None,
) -> Run:
    """Return one run of ``pipeline``, from the cache where it was made before by the same code on the same data."""

    def compute() -> Run:
        result = pipeline(dataset, target_epsilon=target_epsilon, delta=delta, seed=seed, **settings)
        return Run(
            float(target_epsilon),
            float(result.privacy.epsilon),
            seed,
            float(result.accuracy.estimate),
            float(result.seconds),
            str(result.privacy),
            tuple(result.privacy.events),
            dict(settings),
            _right(result, dataset),
            _measured(result, dataset, metrics, positive),
        )

    # The profile belongs to the key: a recipe may ask for it. So do defaults: their names are in the code, not their values.
    key = _defaults(pipeline) | {
        "data": dataset.digest,
        "epsilon": target_epsilon,
        "delta": delta,
        "seed": seed,
    }
    key |= settings | {"profile": profiles.current().name}
    if metrics:
        key |= {"metrics": list(metrics), "positive": positive}
    return cache.cached("private-runs", key, compute, code=[pipeline, _right, _measured])


def check_metrics(names: Sequence[str], positive: int | None, dataset: Dataset) -> None:
    """Refuse, before anything is trained, metrics that no run on this data set could be measured by.

    Raises
    ------
    ValueError
        If a metric is unknown or wants a cost matrix, the positive class is none, or the test records are of one class.
    """
    from labkit.metrics import metric

    for name in names:
        metric(name)
    if "cost" in names:
        raise ValueError(
            "metric 'cost' needs a cost matrix, which curves and searches do not take: choose by another metric, and price the "
            "chosen model with training.evaluate(model, x, y, metrics=['cost'], costs=...)"
        )
    if positive is not None and not 0 <= positive < len(dataset.classes):
        raise ValueError(
            f"positive is {positive}; expected a class from 0 to {len(dataset.classes) - 1} ({', '.join(dataset.classes)})"
        )
    if names and len(dataset.test_y.unique()) < 2:
        raise ValueError(
            f"all {len(dataset.test_y):,} records to measure on are of one class: {names[0]} compares classes; hold out more"
        )


def _measured(result: Any, dataset: Dataset, metrics: Sequence[str], positive: int | None) -> Measured | None:
    """Return further metrics of the trained model on the test records.

    Raises
    ------
    ValueError
        If metrics are asked for and the pipeline's result has no model to ask.
    """
    from labkit import training
    from labkit.metrics import measure

    if not metrics:
        return None
    model = getattr(result, "model", None)
    if model is None:
        raise ValueError("the pipeline's result has no model: only accuracy can be read off it")
    outputs = training.logits(model, dataset.test_x).double().numpy()
    return measure(
        dataset.test_y.numpy(),
        logits=outputs,
        metrics=metrics,
        positive=positive,
        classes=dataset.classes,
        source=dataset.source,
    )


def _right(result: Any, dataset: Dataset) -> np.ndarray | None:
    """Return which test records the trained model answers correctly, bool (n,), or None if it cannot be asked."""
    from labkit import training

    model = getattr(result, "model", None)
    if model is None:
        return None
    return (training.logits(model, dataset.test_x).argmax(1) == dataset.test_y).numpy()


def ceiling_once(ceiling: Pipeline, dataset: Dataset, seed: int) -> float:
    """Return the accuracy of training without privacy (or without private records) with one seed, cached."""
    key = {"data": dataset.digest, "seed": seed, "profile": profiles.current().name}
    return cache.cached(
        "public-runs", key, lambda: float(ceiling(dataset, seed=seed).accuracy.estimate), code=[ceiling]
    )


def _defaults(function: Pipeline) -> dict[str, Any]:
    """Return the arguments that ``function`` fills in by itself, with their values."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, str | int | float)}
