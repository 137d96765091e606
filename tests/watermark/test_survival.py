"""Lab 08's pieces at toy size: who is attacked how, who bears witness, and that nothing is done twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attack_stand_ins import RECIPE, dataset, innocent, tiny_cnn

from labkit.scenarios import marks_that_last, owner_and_thief
from labkit.watermark.attacks import neural_cleanse, removal
from labkit.watermark.marks import embed
from labkit.watermark.robustness import measure


@pytest.fixture
def setup(monkeypatch) -> owner_and_thief.Project:
    """A project of 8x8 pictures; its null models are the stand-ins'."""
    monkeypatch.setattr(owner_and_thief, "nulls", lambda _: [innocent(seed) for seed in range(4)])
    other = dataset(seed=5)
    return owner_and_thief.Project(
        owner=dataset(),
        thief_x=other.train_x,
        thief_y=other.train_y,
        make_model=tiny_cnn,
        recipe=RECIPE,
        seeds=(1, 2),
        pairs=(1,),
        budgets=(100, 400),
        null_count=2,
        minimum=4,
        profile="smoke",
    )


def test_every_attack_is_in_one_family_and_every_scheme_can_be_embedded(monkeypatch, setup) -> None:
    assert sorted(marks_that_last.ATTACKS) == sorted(removal.REMOVALS)
    for profile, seeds in (("smoke", (1,)), ("laptop", (1, 2)), ("full", (1, 2))):
        monkeypatch.setenv("LABKIT_PROFILE", profile)
        assert set(marks_that_last.schemes()) <= set(embed.SCHEMES)
        assert marks_that_last.seeds(setup) == seeds
        assert set(marks_that_last.options(setup)) <= set(marks_that_last.ATTACKS)


def test_who_distils_asks_all_records_and_who_extracts_a_quarter(monkeypatch, setup) -> None:
    monkeypatch.setenv("LABKIT_PROFILE", "laptop")
    recipe = replace(RECIPE, epochs=10)
    assert marks_that_last.options(setup)["distil"] == {"records": 400, "recipe": recipe}
    assert marks_that_last.options(setup)["extract"] == {"records": 100, "recipe": recipe}


def test_marks_are_lab_07s_and_a_mark_at_the_interface_is_the_thiefs_model(setup) -> None:
    by_scheme = {mark.scheme: mark for mark in marks_that_last.victims(setup)}
    assert list(by_scheme) == list(marks_that_last.schemes())
    same = owner_and_thief.marked(setup, "patch", 1)
    weights = zip(by_scheme["patch"].model.parameters(), same.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    owner = owner_and_thief.marked(setup, "answers", 1, share=0.05)
    assert by_scheme["answers"].facts == {}
    victim, thief = owner.model.model, by_scheme["answers"].model
    assert not any(torch.equal(a, b) for a, b in zip(victim.parameters(), thief.parameters(), strict=True))


def test_a_part_of_the_matrix_is_in_the_whole_and_is_not_attacked_again(setup, monkeypatch) -> None:
    marked = [marks_that_last.victim(setup, "patch", 1)]
    part = marks_that_last.survey(setup, ("prune", "blur"), marked)
    assert part.attacks == ["none", "prune", "blur"]
    assert part.null_count == 4
    done = []
    attack = removal.remove
    monkeypatch.setattr(removal, "remove", lambda name, *a, **k: done.append(name) or attack(name, *a, **k))
    whole = marks_that_last.survey(setup, ("prune", "int8", "blur"), marked)
    assert done == ["int8"]
    assert [c for c in whole.cells if c.attack != "int8"] == list(part.cells)
    said = marks_that_last.told(whole)
    assert [line.partition(":")[0] for line in said] == ["prune", "int8", "blur"]
    assert all("points lost on average" in line for line in said)


def test_what_the_search_found_is_kept_and_is_the_matrixs_own(setup, monkeypatch) -> None:
    patch = marks_that_last.victim(setup, "patch", 1)
    found = marks_that_last.cleansed(setup, patch)
    attacked, _ = measure.attacked(
        patch, "neural cleanse", setup.innocent_data(), **marks_that_last.options(setup)["neural cleanse"]
    )
    pairs = zip(found.model.parameters(), attacked.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    monkeypatch.setattr(neural_cleanse, "cleanse", lambda *_, **__: pytest.fail("searched again"))
    assert marks_that_last.cleansed(setup, patch).unlearned == found.unlearned


def test_doses_are_those_of_the_first_seed(setup) -> None:
    marked = [marks_that_last.victim(setup, "patch", seed) for seed in (1, 2)]
    found = marks_that_last.dosed(setup, "prune", marked)
    assert {point.seed for point in found.points} == {1}
    assert [point.dose for point in found.of("patch")] == list(marks_that_last.DOSES["prune"][1])
