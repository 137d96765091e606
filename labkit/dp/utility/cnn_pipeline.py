"""Settings that were found by tuning, with where they were tuned: never on a test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import models, profiles
from labkit.dp.limits import check_epsilon

if TYPE_CHECKING:
    from torch import nn

    from labkit.data import Dataset
    from labkit.dp.training.train_private import PrivateResult
    from labkit.training.loops import FitResult


@dataclass(frozen=True)
class Recipe:
    """Settings for one kind of model.

    Attributes
    ----------
    make_model : callable
        From a seed to the untrained model.
    settings : dict
        Arguments of `labkit.dp.training.train_private.train_private` besides ε, δ and seed.
    smoke, full : dict
        What these profiles have instead: a run that shows it works, and nothing about accuracy; and one that takes five
        times as long and is more accurate.
    tuned_on : str
        The records that the settings were chosen by, and how many runs it took.
    """

    make_model: Callable[[int], nn.Module]
    settings: dict[str, Any]
    smoke: dict[str, Any] = field(repr=False)
    full: dict[str, Any] = field(repr=False)
    tuned_on: str


RECIPES: dict[str, Recipe] = {
    "cnn": Recipe(
        make_model=lambda seed: models.small_cnn("tanh", seed=seed),
        settings={
            "engine": "opacus",
            "max_grad_norm": 0.1,
            "expected_batch_size": 1024,
            "epochs": 12,
            "learning_rate": 8.0,
            "momentum": 0.9,
            "schedule": "linear",
        },
        smoke={"expected_batch_size": 256, "epochs": 1, "learning_rate": 4.0},
        full={"expected_batch_size": 2048, "epochs": 60, "learning_rate": 3.0},
        tuned_on="10,000 MNIST train records held out (seed 0), ε = 3, 14 runs of one seed; 13 more for profile full",
    ),
}


def recipe(name: str, *, target_epsilon: float) -> dict[str, Any]:
    """Return the settings called ``name`` for the current profile, as arguments of `labkit.dp.training.train_private.train_private`.

    Parameters
    ----------
    name : {"cnn"}
        ``cnn``: the tanh network of `labkit.models.small_cnn`, through Opacus.
    target_epsilon : float
        The ε they are for; the noise itself is calibrated by `labkit.dp.training.train_private.train_private`.

    Raises
    ------
    ValueError
        If the name is unknown or ε is not positive.
    """
    check_epsilon("target_epsilon", target_epsilon)
    if name not in RECIPES:
        raise ValueError(f"recipe {name!r} is unknown; expected one of {', '.join(RECIPES)}")
    found = RECIPES[name]
    changes: dict[str, Any] = profiles.current().pick(smoke=found.smoke, laptop={}, full=found.full)
    return found.settings | changes


def cnn_pipeline(
    dataset: Dataset, *, target_epsilon: float, delta: float = 1e-5, seed: int = 0, **changes: Any
) -> PrivateResult:
    """Train the small CNN on images with differential privacy, by its recipe.

    Parameters
    ----------
    dataset : Dataset
        Images ``[n, 1, 28, 28]``.
    target_epsilon, delta : float
        The budget, by PLD, for add/remove neighbours.
    seed : int
        Of the initial weights, the sampling and the noise.
    **changes
        Arguments of `labkit.dp.training.train_private.train_private` that replace the recipe's.
    """
    from labkit.dp.training.train_private import train_private

    # A curve takes many runs, and the closed form is the same step as the recipe's hooks in half the time.
    settings = recipe("cnn", target_epsilon=target_epsilon) | {"engine": "layers"} | changes
    model = RECIPES["cnn"].make_model(seed)
    return train_private(model, dataset, target_epsilon=target_epsilon, delta=delta, seed=seed, **settings)


def cnn_ceiling(dataset: Dataset, *, seed: int = 0) -> FitResult:
    """Train the network of `cnn_pipeline` without privacy: what the architecture allows.

    Tuned like the recipe, on held-out train records; a shift of one pixel stands in for more data.
    """
    from labkit import training

    epochs, shift = profiles.current().pick(smoke=(2, 0), laptop=(12, 1), full=(40, 2))
    model = RECIPES["cnn"].make_model(seed)
    return training.fit(model, dataset, epochs=epochs, learning_rate=0.1, shift=shift, seed=seed)
