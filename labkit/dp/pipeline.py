"""The fastest private pipeline, softmax regression on fixed features, and one cached run of any pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import cache, profiles

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.events import Event
    from labkit.dp.sgd import PrivateResult

# Of `linear_pipeline`; chosen by about 200 runs on 10,000 MNIST train records held out for it. A statement about MNIST that
# counts tuning has to count those (`labkit.dp.tuning_cost`).
LINEAR_SETTINGS: dict[str, float] = {
    "learning_rate": 100.0,
    "max_grad_norm": 0.6,
    "steps": 150,
    "sample_rate": 0.1,
}
Pipeline = Callable[..., Any]


def linear_pipeline(
    dataset: Dataset,
    *,
    target_epsilon: float,
    delta: float = 1e-5,
    seed: int = 0,
    learning_rate: float = LINEAR_SETTINGS["learning_rate"],
    max_grad_norm: float = LINEAR_SETTINGS["max_grad_norm"],
    steps: int = int(LINEAR_SETTINGS["steps"]),
    sample_rate: float = LINEAR_SETTINGS["sample_rate"],
) -> PrivateResult:
    """Train softmax regression on fixed features with differential privacy: the fastest pipeline of the package.

    Parameters
    ----------
    dataset : Dataset
        Features ``[n, d]``, or images, of which `labkit.dp.features.features` are then made.
    target_epsilon, delta : float
        The budget, by PLD, for add/remove neighbours.
    seed : int
    learning_rate, max_grad_norm, steps, sample_rate
        Of `labkit.dp.sgd.train_private`; the learning rate falls linearly to 0.
    """
    from labkit import models
    from labkit.dp import features, sgd

    if dataset.train_x.ndim == 4:
        dataset = features.features(dataset)
    return sgd.train_private(
        models.logistic_regression(dataset.train_x.shape[1], len(dataset.classes)),
        dataset,
        target_epsilon=target_epsilon,
        delta=delta,
        max_grad_norm=max_grad_norm,
        expected_batch_size=sample_rate * len(dataset.train_x),
        steps=int(steps),
        learning_rate=learning_rate,
        schedule="linear",
        engine="linear",
        seed=seed,
    )


def linear_ceiling(dataset: Dataset, *, seed: int = 0) -> Any:
    """Train the model of `linear_pipeline` without privacy: what its features allow at best."""
    from labkit import models, training
    from labkit.dp import features

    if dataset.train_x.ndim == 4:
        dataset = features.features(dataset)
    model = models.logistic_regression(dataset.train_x.shape[1], len(dataset.classes))
    return training.fit(model, dataset, epochs=10, learning_rate=1.0, batch_size=512, seed=seed)


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
    from labkit.dp import engines, gradients, layers, linear, loop, recipes, sgd, textbook

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
    code = [pipeline, sgd, loop, engines, gradients, layers, linear, recipes, models, textbook.poisson_batch]
    return cache.cached("private-runs", key, compute, code=code)


def ceiling_once(ceiling: Pipeline, dataset: Dataset, seed: int) -> float:
    """Return the accuracy of the ceiling with one seed, from the cache where it was measured before."""
    from labkit import models, training
    from labkit.dp import recipes

    key = {"data": dataset.digest, "seed": seed, "profile": profiles.current().name}
    compute = lambda: float(ceiling(dataset, seed=seed).accuracy.estimate)  # noqa: E731
    return cache.cached("public-runs", key, compute, code=[ceiling, training, models, recipes])


def _defaults(function: Pipeline) -> dict[str, Any]:
    """Return the arguments that ``function`` fills in by itself, with their values."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, str | int | float)}
