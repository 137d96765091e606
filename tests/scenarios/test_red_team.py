"""Lab 05's one-off work at a size that trains in seconds: who knows what, and every defence met by who knows it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest

from labkit import data, membership
from labkit.data import Dataset
from labkit.data.standins import objects as shapes
from labkit.membership.shadows.bank import ShadowBank
from labkit.membership.studies.defences import Defence
from labkit.models import strided_cnn
from labkit.scenarios import one_off, red_team
from labkit.training import many
from labkit.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path_factory) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "0")
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path_factory.getbasetemp() / "red-team-cache"))
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    monkeypatch.setattr(many, "_cores", lambda: 1)  # starting processes takes longer than all the rest
    monkeypatch.setitem(red_team.SMOKE, "pool", 140)
    monkeypatch.setitem(red_team.SMOKE, "population", 40)
    monkeypatch.setitem(red_team.SMOKE, "queries", 1)
    monkeypatch.setitem(red_team.SMOKE, "shadow_models", 6)
    monkeypatch.setitem(red_team.PRIVATE, "steps", 3)
    monkeypatch.setitem(red_team.SMOKE, "recipe", Recipe(epochs=1, batch_size=20))
    monkeypatch.setattr(red_team, "CANARIES", 0.2)
    monkeypatch.setattr(red_team, "EPSILONS", (8.0,))
    monkeypatch.setattr(red_team, "LINEAR", Recipe(epochs=1, batch_size=20))


def flat(dataset: Dataset) -> Dataset:
    """Stand in for features: every eighth pixel, scaled to one length."""
    parts = {}
    for part in ("train_x", "test_x"):
        rows = getattr(dataset, part).flatten(1)[:, ::8]
        parts[part] = 3 * rows / rows.norm(dim=1, keepdim=True)
    return replace(dataset, **parts)


@pytest.fixture
def objects() -> Dataset:
    x, y = shapes.objects(260, seed=2)
    return Dataset("tiny", "tiny objects", True, x[:220], y[:220], x[220:], y[220:], shapes.CLASSES)


@pytest.fixture
def scene(objects: Dataset) -> red_team.Scene:
    return red_team.scene(objects)


def test_canaries_are_the_records_whose_labels_were_made_wrong(scene, objects) -> None:
    right = objects.train_y[scene.bank.positions].numpy()
    assert ((scene.bank.labels != right) == scene.canaries).all()
    assert 10 < scene.canaries.sum() < 50  # a fifth of 140


def test_strangers_know_less_and_fit_the_same_targets(scene) -> None:
    bank = scene.bank
    found = red_team.strangers(bank)
    assert len(found) == 4
    kinds = {repr(theirs.make_model()) for theirs in found.values()}
    assert len(kinds) == 3, "the bank's architecture twice, and two others"
    for theirs in found.values():
        assert len(theirs) == red_team.KNOWN_LESS
        assert len(membership.attack("rmia-offline", bank.target(5), theirs).scores) == 140
    elsewhere = found["same architecture, other data"]
    assert not elsewhere.masks.any()
    with pytest.raises(ValueError, match="needs shadow models trained with and without"):
        membership.attack("lira-online", bank.target(5), elsewhere)


def test_other_data_is_other_where_the_bank_has_objects_itself(scene) -> None:
    drawn = red_team.other_data(scene.bank)
    inverted = red_team.other_data(replace(scene.bank, source="stand-in for CIFAR-10"))
    assert (inverted.train_x == 1 - drawn.train_x).all()
    assert "inverted" in inverted.source
    assert len(drawn.train_y) == len(scene.bank.y)


def test_every_defence_meets_an_attacker_who_knows_it(scene, monkeypatch) -> None:
    monkeypatch.setattr(red_team, "seen", flat)
    monkeypatch.setattr(red_team, "DEFENDED", 6)
    monkeypatch.setattr(red_team, "without_private_records", lambda scene: 0.3)
    table = red_team.compare(scene)
    names = [row.name for row in table.rows]
    assert names == [
        "none",
        "early stopping",
        "weight decay",
        "label smoothing",
        "confidence masking",
        "distillation",
        "linear, no noise",
        "linear, ε = 8",
    ]
    none = table.row("none")
    assert none.aware == none.unaware
    assert none.change is None
    for row in table.rows[1:]:
        assert row.change.estimate == pytest.approx(row.aware.estimate - none.aware.estimate)
        assert row.change.confidence == pytest.approx(1 - 0.05 / 7), "seven changes, jointly at 95%"
        assert row.canaries is not None
    assert table.row("confidence masking").label_only == none.label_only
    assert [row.ceiling is not None for row in table.rows] == [False] * 7 + [True]
    assert red_team.PRIMARY in names
    assert table.reference == 0.3
    monkeypatch.setattr(many, "train_many", lambda *a, **b: pytest.fail("trained again"))
    assert red_team.compare(scene).numbers() == table.numbers()


def test_without_records_outside_the_pool_there_is_no_student(objects: Dataset) -> None:
    whole = membership.shadow_bank(
        objects,
        make_model=partial(strided_cnn, 8),
        recipe=Recipe(epochs=1, batch_size=20),
        shadow_models=2,
    )
    made = red_team.Scene(objects, whole, np.zeros(220, dtype=bool))
    assert "distillation" not in [defence.name for defence in red_team.defended(made)]


def test_prepare_makes_what_the_lab_asks_for_part_by_part(monkeypatch, scene) -> None:
    made = []
    monkeypatch.setattr(red_team, "scene", lambda: scene)
    monkeypatch.setattr(red_team, "strangers", made.append)
    monkeypatch.setattr(red_team, "without_private_records", made.append)
    kinds = [Defence(name, lambda bank: made.append(len(bank.queries))) for name in ("one", "two")]
    monkeypatch.setattr(red_team, "defended", lambda scene: kinds)
    monkeypatch.setattr(red_team, "compare", made.append)
    with one_off.listen() as heard:
        red_team.prepare()
    assert made == [scene.bank, scene, 1, 1, scene]
    told = [part.what for part in heard]
    assert len(told) == 6, "an interrupt or a slow part has a name"
    assert told[3:5] == ["models under defences: one", "models under defences: two"]


def test_the_scene_is_on_cifar10_unless_told_otherwise(monkeypatch, objects) -> None:
    monkeypatch.setattr(data, "load", lambda name: {"cifar10": objects}[name])
    assert isinstance(red_team.scene().bank, ShadowBank)
    assert inspect.signature(red_team.scene).parameters["dataset"].default is None
