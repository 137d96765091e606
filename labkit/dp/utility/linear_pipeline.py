"""The fastest private pipeline, softmax regression on fixed features; its ceiling without privacy, its start without data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.dp.training.result import PrivateResult
    from labkit.dp.utility.features import FeatureSet
    from labkit.training import FitResult

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
        Features ``[n, d]``, or images ``[n, 1, 28, 28]`` or ``[n, 3, 32, 32]``, of which
        `labkit.dp.utility.features.features` are then made.
    target_epsilon, delta : float
        The budget, by PLD, for add/remove neighbours.
    seed : int
    learning_rate, max_grad_norm, steps, sample_rate
        Of `labkit.dp.train_private`; the learning rate falls linearly to 0.

    Notes
    -----
    The features know something before the first private record is read: `linear_prior` says how much.
    """
    from labkit import models
    from labkit.dp.training.train_private import train_private

    dataset = _as_features(dataset)
    return train_private(
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


def linear_ceiling(dataset: Dataset, *, seed: int = 0) -> FitResult:
    """Train the model of `linear_pipeline` without privacy: what its features allow at best."""
    return _fit(_as_features(dataset), seed)


def linear_prior(dataset: Dataset, *, seed: int = 0) -> FitResult:
    """Train the model of `linear_pipeline` on synthetic records alone: what is known at ε = 0.

    Parameters
    ----------
    dataset : Dataset
        Images, or what `labkit.dp.utility.features.features` made of them. Its train records are not read; accuracy is
        measured on its test records.
    seed : int
        Of the synthetic records and the training.

    Raises
    ------
    ValueError
        For feature vectors that do not say what they were made of, or classes that no synthetic record has.
    """
    from labkit.dp.utility.features import public_records

    return _fit(public_records(_as_features(dataset), seed=seed), seed)


def _as_features(dataset: Dataset) -> Dataset | FeatureSet:
    from labkit.dp.utility.features import features

    return features(dataset) if dataset.train_x.ndim == 4 else dataset


def _fit(dataset: Dataset, seed: int) -> FitResult:
    from labkit import models, training

    model = models.logistic_regression(dataset.train_x.shape[1], len(dataset.classes))
    return training.fit(model, dataset, epochs=10, learning_rate=1.0, batch_size=512, seed=seed)
