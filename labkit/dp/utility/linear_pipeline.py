"""The fastest private pipeline, softmax regression on fixed features; its ceiling without privacy, its start without data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit import cache

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.data import Dataset
    from labkit.dp.training.result import PrivateResult
    from labkit.dp.utility.features import FeatureSet
    from labkit.training import FitResult

# Of `linear_pipeline`, for images of either shape. Chosen by 35 runs on synthetic objects: that asked no private record.
LINEAR_SETTINGS: dict[str, float] = {
    "logit_noise": 0.8,
    "max_grad_norm": 0.6,
    "steps": 300,
    "sample_rate": 0.2,
}
# Runs on train records of each set that chose which features to make (`labkit.dp.utility.features`): none on test records.
# A statement that counts tuning has to count these (`labkit.dp.TuningCost`).
LINEAR_TRIALS: dict[str, int] = {"mnist": 54, "cifar10": 60}


def linear_pipeline(
    dataset: Dataset,
    *,
    target_epsilon: float,
    delta: float = 1e-5,
    seed: int | None = 0,
    learning_rate: float | None = None,
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
        The budget, by PLD, for add/remove neighbours; a small part of it buys a mean to centre the features by.
    seed : int or None
        As for `labkit.dp.train_private`.
    learning_rate : float, optional
        Falls linearly to 0; by default what `linear_learning_rate` makes of the noise.
    max_grad_norm, steps, sample_rate
        Of `labkit.dp.train_private`.

    Returns
    -------
    PrivateResult
        Its model takes features as they come: the centring is folded into the bias.

    Notes
    -----
    The features know something before the first private record is read: `linear_prior` says how much.
    """
    from labkit import models
    from labkit.dp.accounting.calibration import calibrate_noise
    from labkit.dp.training.train_private import train_private
    from labkit.dp.utility.centring import mean_event, private_mean
    from labkit.dp.utility.features import FEATURE_NORM

    dataset, steps = _as_features(dataset), int(steps)
    n = len(dataset.train_y)
    event = mean_event(target_epsilon, delta)
    if learning_rate is None:
        noise = calibrate_noise(
            target_epsilon,
            delta=delta,
            sample_rate=sample_rate,
            steps=steps,
            other_events=(event,),
            n=n,
            sampler="full" if sample_rate == 1 else "poisson",
        )
        learning_rate = linear_learning_rate(noise, max_grad_norm, steps, sample_rate * n)
    mean = private_mean(
        dataset.train_x, bound=FEATURE_NORM, noise_multiplier=event.noise_multiplier, seed=seed
    )
    result = train_private(
        models.logistic_regression(dataset.train_x.shape[1], len(dataset.classes)),
        _shifted(dataset, mean),
        target_epsilon=target_epsilon,
        delta=delta,
        max_grad_norm=max_grad_norm,
        expected_batch_size=sample_rate * n,
        steps=steps,
        learning_rate=learning_rate,
        schedule="linear",
        engine="linear",
        other_events=(event,),
        seed=seed,
    )
    return replace(result, model=_unshifted(result.model, mean))


def linear_learning_rate(
    noise_multiplier: float, max_grad_norm: float, steps: int, expected_batch_size: float
) -> float:
    """Return the learning rate at which all noise of a run moves a logit by `LINEAR_SETTINGS`'s ``logit_noise``.

    Noise, not curvature, limits the step: over T steps whose rates fall linearly from η to 0, the noise in a weight has
    standard deviation η σ C sqrt(T/3) / B, and in a logit `FEATURE_NORM` times as much. So fewer records, or a smaller ε,
    need a smaller rate.

    Parameters
    ----------
    noise_multiplier, max_grad_norm : float
        σ and C.
    steps : int
        T.
    expected_batch_size : float
        B.

    Examples
    --------
    >>> round(linear_learning_rate(7.6, 0.6, 150, 8000), 1)
    66.2
    """
    from labkit.dp.utility.features import FEATURE_NORM

    per_rate = FEATURE_NORM * noise_multiplier * max_grad_norm * math.sqrt(steps / 3) / expected_batch_size
    return LINEAR_SETTINGS["logit_noise"] / per_rate


def _shifted(dataset: Dataset, mean: Tensor) -> Dataset:
    return replace(
        dataset,
        train_x=dataset.train_x - mean,
        test_x=dataset.test_x - mean,
        digest=cache.digest(dataset.digest, "minus", mean),
    )


def _unshifted(model: nn.Module, mean: Tensor) -> nn.Module:
    """Return ``model``, made for x - mean, as a model for x: W (x - m) + b = W x + (b - W m)."""
    from labkit.dp.training.linear import linear_layer

    layer = linear_layer(model)
    layer.bias.data -= layer.weight.data @ mean.to(layer.weight.device)
    return model


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
