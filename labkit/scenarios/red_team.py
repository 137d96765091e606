"""The one-off work of lab 05: its bank, shadow models of an attacker who knows less, and models under defences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import cache, data, dp, models, profiles
from labkit.data.standins import objects
from labkit.membership.shadows import presets, training, transfer
from labkit.membership.shadows.bank import ShadowBank
from labkit.membership.shadows.targets import members_dataset
from labkit.membership.studies import defences
from labkit.membership.studies.defence_comparison import compare_defences
from labkit.scenarios import one_off
from labkit.training.recipe import Recipe

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.membership.studies.defence_table import DefenceTable
    from labkit.membership.studies.defences import Defence

KNOWN_LESS = 4  # shadow models of an attacker who does not know architecture or data
DEFENDED = 8  # models under each defence: targets, and shadow models of the attacker who knows it
EPSILONS = (8.0, 1.0)
PRIMARY = (
    "linear, ε = 8"  # the one comparison that the lab tests: this defence's aware AUC minus that of "none"
)
CANARIES = 0.025  # of the train labels, made wrong: records that a network can only learn by heart
CANARY_SEED = 5
DRAWN_SEED = 1  # of the objects that are other data; the stand-in of `labkit.data` has seed 0

# LiRA needs two models on each side of every record, when a target and its partner are left out.
SMOKE: dict[str, Any] = {
    "shadow_models": 8,
    "pool": 600,
    "population": 300,
    "queries": 2,
    "recipe": Recipe(epochs=5, learning_rate=0.1, batch_size=64),
}
PRIVATE: dict[str, Any] = {}  # options of the private linear models: the pipeline's own settings
LINEAR = Recipe(epochs=20, learning_rate=1.0, batch_size=512)  # softmax regression without noise


@dataclass(frozen=True, eq=False)
class Scene:
    """The records and models of lab 05: see `scene`.

    Attributes
    ----------
    dataset : Dataset
        CIFAR-10, or its stand-in, with the canaries' labels made wrong.
    bank : ShadowBank
    canaries : bool array of shape (n,)
        Records of the pool whose label was made wrong, before any model was trained.
    """

    dataset: Dataset
    bank: ShadowBank
    canaries: np.ndarray


def scene(dataset: Dataset | None = None) -> Scene:
    """Return the shadow bank of the current profile, on CIFAR-10 with canaries; training what is missing takes minutes.

    The canaries are mislabelled records, the worst case that can be planted without a look at any model (Aerni, Zhang &
    Tramer, arXiv 2404.17399, section 4).
    """
    from labkit.scenarios.handed_over import mislabel

    settings, profile = presets.preset("cifar10"), profiles.current()
    changes: dict[str, Any] = profile.pick(smoke=SMOKE, laptop={}, full={})
    changed, wrong = mislabel(dataset or data.load("cifar10"), CANARIES, seed=CANARY_SEED)
    bank = replace(settings, **changes).bank(changed)
    return Scene(changed, bank, wrong[bank.positions])


def strangers(bank: ShadowBank) -> dict[str, ShadowBank]:
    """Return small banks of attackers who know less than the target's architecture and data, by what they know.

    All hold `KNOWN_LESS` models and answer about the records of ``bank``: "same architecture, same data" (the first
    models of ``bank``), "another width", "no convolutions", and "same architecture, other data".
    """
    few = bank.first(KNOWN_LESS)
    profile = profiles.current()
    hidden = profile.pick(smoke=32, laptop=512, full=512)
    others: dict[str, Callable[[], nn.Module]] = {
        "another width": profile.pick(
            smoke=partial(models.strided_cnn, 16, norm="batch"),
            laptop=partial(models.strided_cnn, 8, norm="batch"),
            full=partial(models.cifar_cnn, 16),
        ),
        "no convolutions": partial(models.perceptron, 3 * 32 * 32, hidden, 10),
    }
    found = {"same architecture, same data": few}
    for name, make_model in others.items():
        found[name] = training.sibling(few, make_model=make_model, name=name, strategy=strategy())
    made_elsewhere = training.shadow_bank(
        other_data(bank),
        make_model=bank.make_model,
        recipe=bank.recipe,
        shadow_models=KNOWN_LESS,
        queries=len(bank.queries),
        name="other data",
    )
    return found | {"same architecture, other data": transfer.transfer_bank(made_elsewhere, bank)}


def strategy() -> str:
    """Return how to train networks without convolutions: several steps at once gain less than a core for each model."""
    return profiles.current().pick(smoke="loop", laptop="workers", full="auto")


def other_data(bank: ShadowBank) -> Dataset:
    """Return as many records as the bank's pool, of its shape and classes, from elsewhere: objects drawn by code.

    Where the bank's own records are such objects, others of them in inverted colours.
    """
    from labkit.data import Dataset

    pool, spare = (
        len(bank.y),
        100,
    )  # the spare ones are asked about by nobody, but a data set has test records
    x, y = objects.objects(pool + spare, seed=DRAWN_SEED)
    inverted = "stand-in" in bank.source
    return Dataset(
        name="objects",
        source=f"stand-in for CIFAR-10, seed {DRAWN_SEED}" + (", colours inverted" if inverted else ""),
        real=False,
        train_x=1 - x[:pool] if inverted else x[:pool],
        train_y=y[:pool],
        test_x=x[pool:],
        test_y=y[pool:],
        classes=objects.CLASSES,
    )


def defended(scene: Scene) -> list[Defence]:
    """Return the lab's defences: those of `defences.standard`, distillation, and linear models without and with DP.

    The linear models see features that were learned from public images only (`labkit.dp.utility.features`).
    """
    bank, dataset = scene.bank, scene.dataset
    chosen = defences.standard(bank.recipe)
    reserve = training.reserve_of(dataset, len(bank.y), bank.seed)[: len(bank.y) // 2]
    if len(reserve):  # the full profile's pool is the whole train set
        chosen.append(defences.distillation(dataset.train_x[reserve]))
    linear = [defences.linear(LINEAR, strategy=strategy())]
    linear += [defences.private_linear(epsilon, **PRIVATE) for epsilon in EPSILONS]
    return chosen + [defences.on_features(defence, seen) for defence in linear]


def attacked(bank: ShadowBank) -> ShadowBank:
    """Return the undefended models that the lab compares defences with: the first `DEFENDED`, asked without mirror."""
    return bank.first(min(DEFENDED, len(bank))).select(queries=1)


def seen(dataset: Dataset) -> Dataset:
    """Return what the linear models see of ``dataset``: features learned from public images only."""
    from labkit.dp.utility import features

    return features.features(dataset)


def compare(scene: Scene) -> DefenceTable:
    """Return the table of the lab's defences: `DEFENDED` models each, attacked with and without knowledge of them.

    The label-only attack runs where the models see the records themselves, on a part of the pool.
    """
    profile = profiles.current()
    return compare_defences(
        attacked(scene.bank),
        defended(scene),
        canaries=scene.canaries,
        label_only_records=profile.pick(smoke=100, laptop=1000, full=5000),
        reference=without_private_records(scene),
    )


def without_private_records(scene: Scene) -> float:
    """Return the accuracy of the linear model at ε = 0: on the same features, taught on synthetic records alone."""
    bank = scene.bank
    # The whole pool, though none of it is read: its features are those that the private models see.
    whole = members_dataset(bank, np.ones(len(bank.y), dtype=bool))

    def measure() -> float:
        return float(dp.linear_prior(whole, seed=0).accuracy.estimate)

    population = cache.digest(bank.population_x, bank.population_y)
    return cache.cached(
        "without-private-records", {"population": population}, measure, code=[dp.linear_prior]
    )


def prepare() -> None:
    """Do the one-off work of lab 05, model by model: what exists is kept, and an interrupt loses one model at most."""
    with one_off.part("shadow bank"):
        made = scene()
    with one_off.part("shadow models of who knows less"):
        strangers(made.bank)
    with one_off.part("features learned from public images, and the line at ε = 0"):
        without_private_records(made)
    few = attacked(made.bank)
    for defence in defended(made):
        with one_off.part(f"models under defences: {defence.name}"):
            defence.models(few)
    with one_off.part("attacks on all of them"):
        compare(made)
