"""One cached run of any private pipeline, reduced to what a curve needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import cache, profiles

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.accounting.events import Event


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
    seconds : float
    privacy : str
        The statement in full.
    events : tuple of Event
        All that the run released from its records, for composing it with others.
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


def run_once(
    pipeline: Pipeline, dataset: Dataset, target_epsilon: float, delta: float, seed: int, settings: dict
) -> Run:
    """Return one run of ``pipeline``, from the cache where it was made before by the same code on the same data."""
    from labkit import models
    from labkit.dp.training import engines, gradients, layers, linear, run, textbook, train_private
    from labkit.dp.utility import cnn_pipeline

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
        )

    # The profile belongs to the key: a recipe may ask for it. So do defaults: their names are in the code, not their values.
    key = _defaults(pipeline) | {
        "data": dataset.digest,
        "epsilon": target_epsilon,
        "delta": delta,
        "seed": seed,
    }
    key |= settings | {"profile": profiles.current().name}
    code = [
        pipeline,
        train_private,
        run,
        engines,
        gradients,
        layers,
        linear,
        cnn_pipeline,
        models,
        textbook.poisson_batch,
    ]
    return cache.cached("private-runs", key, compute, code=code)


def ceiling_once(ceiling: Pipeline, dataset: Dataset, seed: int) -> float:
    """Return the accuracy of the ceiling with one seed, from the cache where it was measured before."""
    from labkit import models, training
    from labkit.dp.utility import cnn_pipeline

    key = {"data": dataset.digest, "seed": seed, "profile": profiles.current().name}
    compute = lambda: float(ceiling(dataset, seed=seed).accuracy.estimate)  # noqa: E731
    return cache.cached("public-runs", key, compute, code=[ceiling, training, models, cnn_pipeline])


def _defaults(function: Pipeline) -> dict[str, Any]:
    """Return the arguments that ``function`` fills in by itself, with their values."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, str | int | float)}
