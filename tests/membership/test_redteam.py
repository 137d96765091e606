"""Lab 05's one-off work at a size that trains in seconds: who knows what, and targets that are trained once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from labkit import data, membership
from labkit.data import Dataset
from labkit.data.standins import objects as shapes
from labkit.membership.shadows import presets
from labkit.membership.shadows.bank import ShadowBank
from labkit.scenarios import red_team
from labkit.training import many
from labkit.training.recipe import Recipe


@pytest.fixture(autouse=True)
def _small(monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "smoke")
    monkeypatch.setattr(many, "_cores", lambda: 1)  # no processes: their start takes longer than all the rest


@pytest.fixture
def objects() -> Dataset:
    x, y = shapes.objects(220, seed=2)
    return Dataset("tiny", "tiny objects", True, x[:180], y[:180], x[180:], y[180:], shapes.CLASSES)


@pytest.fixture
def tiny(objects: Dataset) -> ShadowBank:
    return membership.shadow_bank(
        objects,
        make_model=partial(presets.strided_cnn, 8),
        recipe=Recipe(epochs=1, batch_size=20),
        shadow_models=6,
        pool=140,
    )


def test_strangers_know_less_and_fit_the_same_targets(tiny: ShadowBank) -> None:
    found = red_team.strangers(tiny)
    assert len(found) == 4
    kinds = {repr(theirs.make_model()) for theirs in found.values()}
    assert len(kinds) == 3, "the bank's architecture twice, and two others"
    for theirs in found.values():
        assert len(theirs) == red_team.KNOWN_LESS
        scores = membership.attack("rmia-offline", tiny.target(5), theirs).scores
        assert len(scores) == 140
    elsewhere = found["same architecture, other data"]
    assert not elsewhere.masks.any()
    with pytest.raises(ValueError, match="needs shadow models trained with and without"):
        membership.attack("lira-online", tiny.target(5), elsewhere)


def test_other_data_is_other_where_the_bank_has_objects_itself(tiny: ShadowBank) -> None:
    drawn = red_team.other_data(tiny)
    inverted = red_team.other_data(replace(tiny, source="stand-in for CIFAR-10"))
    assert (inverted.train_x == 1 - drawn.train_x).all()
    assert "inverted" in inverted.source
    assert len(drawn.train_y) == len(tiny.y)


def test_defences_train_and_ask_their_targets_once(tiny: ShadowBank, objects: Dataset, monkeypatch) -> None:
    everyone = red_team.defended(tiny, objects)
    names = [defence.name for defence in everyone]
    assert names[0] == "none"
    assert names[-3:] == ["distillation", "DP-SGD, ε = 8", "DP-SGD, ε = 1"]
    first = everyone[-1].targets(tiny, [1])
    assert everyone[-1].targets(tiny, (1,)) is first
    assert first[0].privacy.epsilon == pytest.approx(1.0, abs=0.01)
    assert np.isfinite(first[0].logits).all()
    # In another session the answers come from disk, the same ones.
    monkeypatch.setattr(ShadowBank, "query", lambda *given, **named: pytest.fail("asked again"))
    later = red_team.defended(tiny, objects)[-1].targets(tiny, (1,))[0]
    assert (later.logits == first[0].logits).all()
    assert (later.accuracy, later.name) == (first[0].accuracy, first[0].name)


def test_without_records_outside_the_pool_there_is_no_student(objects: Dataset) -> None:
    whole = membership.shadow_bank(
        objects,
        make_model=partial(presets.strided_cnn, 8),
        recipe=Recipe(epochs=1, batch_size=20),
        shadow_models=2,
    )
    assert "distillation" not in [defence.name for defence in red_team.defended(whole, objects)]


def test_prepare_makes_what_the_lab_asks_for(monkeypatch, tiny: ShadowBank, objects: Dataset, capsys) -> None:
    made = []
    monkeypatch.setattr(red_team, "bank", lambda: tiny)
    monkeypatch.setattr(red_team, "strangers", lambda bank: made.append("strangers"))
    monkeypatch.setattr(data, "load", lambda name: objects)
    stub = replace(red_team.defended(tiny, objects)[0], targets=lambda bank, seeds: made.append(seeds))
    monkeypatch.setattr(red_team, "defended", lambda bank, dataset: [stub, stub])
    red_team.prepare()
    assert made == ["strangers", red_team.SEEDS, red_team.SEEDS]
    assert "minutes" not in capsys.readouterr().out
    monkeypatch.setenv("LABKIT_PROFILE", "laptop")
    red_team.prepare()
    assert "minutes" in capsys.readouterr().out
