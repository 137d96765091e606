"""Settings of the shadow banks that the labs use, by data set and profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from labkit import models, profiles
from labkit.membership.shadows.bank import ShadowBank
from labkit.models import perceptron, strided_cnn
from labkit.training.recipe import Recipe

if TYPE_CHECKING:
    from labkit.data import Dataset


@dataclass(frozen=True)
class Preset:
    """What `shadow_bank` needs to know about one data set: see there."""

    dataset: str
    make_model: Callable[[], nn.Module]
    recipe: Recipe
    shadow_models: int
    pool: int | None
    population: int | None
    queries: int

    def bank(
        self,
        dataset: Dataset | None = None,
        *,
        source: str | None = None,
        strategy: str = "auto",
        seed: int = 0,
    ) -> ShadowBank:
        """Return the bank, training what is missing.

        Parameters
        ----------
        dataset : Dataset, optional
            Default: that of the preset, loaded from ``source`` (see `labkit.data.load`).
        """
        from labkit import data
        from labkit.membership.shadows.training import shadow_bank

        return shadow_bank(
            data.load(self.dataset, source=source) if dataset is None else dataset,
            make_model=self.make_model,
            recipe=self.recipe,
            shadow_models=self.shadow_models,
            pool=self.pool,
            population=self.population,
            queries=self.queries,
            strategy=strategy,
            seed=seed,
        )


def _cifar10(profile: profiles.Profile) -> Preset:
    return Preset(
        dataset="cifar10",
        make_model=profile.pick(
            smoke=partial(strided_cnn, 8, norm="batch"),
            laptop=partial(strided_cnn, 32, norm="batch"),
            full=partial(models.cifar_cnn, 64),
        ),
        recipe=profile.pick(
            smoke=Recipe(epochs=8, learning_rate=0.1, batch_size=64),
            # Longer than accuracy asks for: models that memorise are what the lab attacks.
            laptop=Recipe(epochs=12, learning_rate=0.1, mirror=True, precision="auto"),
            full=Recipe(epochs=100, learning_rate=0.1, weight_decay=5e-4, mirror=True, shift=4),
        ),
        shadow_models=profile.pick(smoke=4, laptop=16, full=16),
        pool=profile.pick(smoke=1000, laptop=20_000, full=None),
        population=profile.pick(smoke=500, laptop=10_000, full=10_000),
        queries=profile.pick(smoke=1, laptop=2, full=18),
    )


def _mnist(profile: profiles.Profile) -> Preset:
    return Preset(
        dataset="mnist",
        make_model=profile.pick(
            smoke=partial(strided_cnn, 8, channels=1, size=28),
            laptop=partial(strided_cnn, 8, channels=1, size=28),
            full=partial(models.small_cnn, "relu"),
        ),
        recipe=profile.pick(
            smoke=Recipe(epochs=4, learning_rate=0.1, batch_size=64),
            laptop=Recipe(epochs=30, learning_rate=0.1, batch_size=64),
            full=Recipe(epochs=50, learning_rate=0.1),
        ),
        shadow_models=profile.pick(smoke=4, laptop=16, full=64),
        pool=profile.pick(smoke=1000, laptop=4000, full=None),
        population=profile.pick(smoke=500, laptop=10_000, full=10_000),
        queries=1,
    )


def _breast_cancer(profile: profiles.Profile) -> Preset:
    return Preset(
        dataset="breast_cancer",
        make_model=partial(perceptron, 30),
        recipe=Recipe(epochs=profile.pick(smoke=50, laptop=300, full=300), learning_rate=0.2, batch_size=32),
        shadow_models=profile.pick(smoke=8, laptop=32, full=256),
        pool=None,
        population=None,
        queries=1,
    )


PRESETS = {"cifar10": _cifar10, "mnist": _mnist, "breast_cancer": _breast_cancer}


def preset(dataset: str, profile: profiles.Profile | None = None) -> Preset:
    """Return the shadow-bank settings of a data set in the current profile (or another).

    Raises
    ------
    ValueError
        If there are none for this data set.
    """
    if dataset not in PRESETS:
        raise ValueError(f"no shadow-bank settings for {dataset!r}; there are for {', '.join(PRESETS)}")
    return PRESETS[dataset](profile or profiles.current())
