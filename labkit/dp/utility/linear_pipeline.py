"""The fastest private pipeline, softmax regression on fixed features, and one cached run of any pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.training.train_private import PrivateResult

# Of `linear_pipeline`; chosen by about 200 runs on 10,000 MNIST train records held out for it. A statement about MNIST that
# counts tuning has to count those (`labkit.dp.accounting.tuning_cost`).
LINEAR_SETTINGS: dict[str, float] = {
    "learning_rate": 100.0,
    "max_grad_norm": 0.6,
    "steps": 150,
    "sample_rate": 0.1,
}


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
        Features ``[n, d]``, or images, of which `labkit.dp.utility.features.features` are then made.
    target_epsilon, delta : float
        The budget, by PLD, for add/remove neighbours.
    seed : int
    learning_rate, max_grad_norm, steps, sample_rate
        Of `labkit.dp.training.train_private.train_private`; the learning rate falls linearly to 0.
    """
    from labkit import models
    from labkit.dp.training import train_private
    from labkit.dp.utility import features

    if dataset.train_x.ndim == 4:
        dataset = features.features(dataset)
    return train_private.train_private(
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
    from labkit.dp.utility import features

    if dataset.train_x.ndim == 4:
        dataset = features.features(dataset)
    model = models.logistic_regression(dataset.train_x.shape[1], len(dataset.classes))
    return training.fit(model, dataset, epochs=10, learning_rate=1.0, batch_size=512, seed=seed)
