"""The one-off work of lab 05: its bank, shadow models of an attacker who knows less, and targets under defences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from labkit import data, models, profiles
from labkit.membership.shadows import presets, training, transfer
from labkit.membership.shadows.bank import ShadowBank
from labkit.membership.studies import defences
from labkit.training.recipe import Recipe

if TYPE_CHECKING:
    from labkit.data import Dataset
    from labkit.membership.studies.defences import Defence

SEEDS = (1, 2, 3)  # of the targets under each defence
KNOWN_LESS = 4  # shadow models of an attacker who does not know architecture or data
EPSILONS = (8.0, 1.0)
DRAWN_SEED = 1  # of the objects that are other data; the stand-in of `labkit.data` has seed 0

# Chosen on 10,000 images outside the pool, measured on 5,000 others of them: four runs of one seed.
PRIVATE: dict[str, Any] = {
    "engine": "layers",
    "expected_batch_size": 500,
    "epochs": 8,
    "learning_rate": 0.5,
    "momentum": 0.9,
    "schedule": "linear",
    "physical_batch_size": 128,
}
# LiRA needs two models on each side of every record, when a target and its partner are left out.
SMOKE: dict[str, Any] = {
    "shadow_models": 8,
    "pool": 600,
    "population": 300,
    "queries": 2,
    "recipe": Recipe(epochs=5, learning_rate=0.1, batch_size=64),
}
PRIVATE_SMOKE: dict[str, Any] = PRIVATE | {"expected_batch_size": 60, "epochs": 1}


def bank() -> ShadowBank:
    """Return the CIFAR-10 shadow bank of the current profile; training what is missing takes minutes (laptop)."""
    preset, profile = presets.preset("cifar10"), profiles.current()
    changes: dict[str, Any] = profile.pick(smoke=SMOKE, laptop={}, full={})
    return replace(preset, **changes).bank()


def strangers(bank: ShadowBank) -> dict[str, ShadowBank]:
    """Return small banks of attackers who know less than the target's architecture and data, by what they know.

    All hold `KNOWN_LESS` models and answer about the records of ``bank``: "same architecture, same data" (the first
    models of ``bank``), "another width", "no convolutions", and "same architecture, other data".
    """
    few = bank.first(KNOWN_LESS)
    profile = profiles.current()
    narrow, hidden = partial(presets.strided_cnn, 8), profile.pick(smoke=32, laptop=512, full=512)
    others: dict[str, Callable[[], nn.Module]] = {
        "another width": profile.pick(
            smoke=partial(presets.strided_cnn, 16), laptop=narrow, full=partial(models.cifar_cnn, 16)
        ),
        "no convolutions": partial(presets.perceptron, 3 * 32 * 32, hidden, 10),
    }
    found = {"same architecture, same data": few}
    for name, make_model in others.items():
        found[name] = training.sibling(few, make_model=make_model, name=name)
    made_elsewhere = training.shadow_bank(
        other_data(bank),
        make_model=bank.make_model,
        recipe=bank.recipe,
        shadow_models=KNOWN_LESS,
        queries=len(bank.queries),
        name="other data",
    )
    return found | {"same architecture, other data": transfer.transfer_bank(made_elsewhere, bank)}


def other_data(bank: ShadowBank) -> Dataset:
    """Return as many records as the bank's pool, of its shape and classes, from elsewhere: objects drawn by code.

    Where the bank's own records are such objects, others of them in inverted colours.
    """
    from labkit.data import Dataset
    from labkit.data.standins import objects

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


def defended(bank: ShadowBank, dataset: Dataset) -> list[Defence]:
    """Return the lab's defences for a bank on ``dataset``: those of `defences.standard`, distillation, DP-SGD at two ε.

    Each trains and asks its targets once, however often they are wanted.
    """
    reserve = training.reserve_of(dataset, len(bank.y), bank.seed)[: len(bank.y) // 2]
    private = profiles.current().pick(smoke=PRIVATE_SMOKE, laptop=PRIVATE, full=PRIVATE | {"epochs": 40})
    chosen = defences.standard(bank.recipe)
    if len(reserve):  # the full profile's pool is the whole train set
        chosen.append(defences.distillation(dataset.train_x[reserve]))
    chosen += [defences.dp_sgd(epsilon, **private) for epsilon in EPSILONS]
    return [replace(defence, targets=_once(defence.targets)) for defence in chosen]


def _once(targets: Callable[..., Any]) -> Callable[..., Any]:
    remembered = functools.cache(targets)
    return lambda bank, seeds: remembered(bank, tuple(seeds))


def prepare() -> None:
    """Do the one-off work of lab 05, model by model: what exists is kept, and an interrupt loses one model at most."""
    if profiles.current().name == "laptop":
        print(
            "lab 05: 16 shadow models (about 8 minutes on 2 cores), then 12 more and 21 targets (about 12 minutes)"
        )
    whole = bank()
    strangers(whole)
    for defence in defended(whole, data.load("cifar10")):
        defence.targets(whole, SEEDS)
