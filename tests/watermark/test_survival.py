"""Lab 08's pieces at toy size: who is attacked how, who bears witness, and that nothing is done twice."""

from __future__ import annotations

import pytest
import torch
from attack_stand_ins import RECIPE, dataset, innocent, tiny_cnn

from labkit.scenarios import marks_that_last, owner_and_thief
from labkit.watermark.attacks import removal
from labkit.watermark.marks import embed, entangled, training
from labkit.watermark.robustness import cells, jobs


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
    assert sorted(marks_that_last.SINGLE) == sorted(removal.REMOVALS)
    for profile, seeds in (("smoke", (1,)), ("laptop", (1, 2)), ("full", (1, 2))):
        monkeypatch.setenv("LABKIT_PROFILE", profile)
        assert set(marks_that_last.schemes()) <= set(embed.SCHEMES)
        assert marks_that_last.seeds(setup) == seeds
        assert set(marks_that_last.options(setup)) <= set(marks_that_last.ATTACKS)


def test_the_thief_is_lab_07s_with_its_whole_budget_and_with_a_quarter(setup) -> None:
    mark = marks_that_last.victim(setup, "patch", 1)
    whole, few = (own(mark) for own in marks_that_last.thieves(setup)["distil"])
    (labels,) = (own(mark) for own in marks_that_last.thieves(setup)["extract"])
    for model, answers in ((whole, "probabilities"), (labels, "labels")):
        stolen = owner_and_thief.stolen(setup, mark.model, 1, answers=answers).model
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), stolen.parameters(), strict=True))
    assert not torch.equal(whole[0].weight, few[0].weight)


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
    whole = marks_that_last.survey(setup, ("prune", "round", "blur"), marked)
    assert done == ["round", "round"]
    assert [c for c in whole.cells if c.attack != "round"] == list(part.cells)
    said = marks_that_last.told(whole)
    assert [line.partition(":")[0] for line in said] == ["prune", "round", "blur"]
    assert all("points lost on average" in line for line in said)


def test_what_the_search_found_is_kept_and_is_the_matrixs_own(setup, monkeypatch) -> None:
    patch = marks_that_last.victim(setup, "patch", 1)
    found = marks_that_last.cleansed(setup, patch)
    plan = jobs.Plan(marks_that_last.options(setup), {}, "float32")
    attacked = jobs.attacked(jobs.Job(patch, "neural cleanse", 0), plan, setup.innocent_data())
    pairs = zip(found.model.parameters(), attacked.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    monkeypatch.setattr(marks_that_last.cache, "save", lambda *_: pytest.fail("searched and saved again"))
    assert marks_that_last.cleansed(setup, patch).unlearned == found.unlearned


def test_an_attack_is_compared_with_its_missing_control(setup) -> None:
    marked = [marks_that_last.victim(setup, "patch", 1)]
    result = marks_that_last.survey(setup, ("fine-tune all", "neural cleanse"), marked)
    (said,) = marks_that_last.control(result)
    assert said.startswith("patch: neural cleanse leaves")
    gap = cells.gap(result.pooled("patch", "neural cleanse"), result.pooled("patch", "fine-tune all"))
    assert cells.points(gap) in said
    assert ("not shown to leave less" in said) == (gap.low <= 0 <= gap.high)
    (alone,) = marks_that_last.control(result, "fine-tune all")  # against itself: never shown to differ
    assert "not shown to leave less than" in alone


def test_the_control_of_a_costs_second_stage_is_the_unmarked_model_trained_on(setup) -> None:
    long, clean = marks_that_last.trained_as_long(setup, 1), owner_and_thief.plain(setup, 1)
    recipe = entangled.second_stage(setup.recipe)
    assert recipe.epochs == entangled.EPOCHS
    assert recipe.learning_rate == min(entangled.LEARNING_RATE, setup.recipe.learning_rate)
    x, y = setup.owner.train_x, setup.owner.train_y
    again, _ = training.train(clean, x, y, recipe, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(long.parameters(), again.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(long.parameters(), clean.parameters(), strict=True))


def test_doses_are_those_of_the_first_seed(setup) -> None:
    marked = [marks_that_last.victim(setup, "patch", seed) for seed in (1, 2)]
    found = marks_that_last.dosed(setup, "prune", marked)
    assert {point.seed for point in found.points} == {1}
    assert [point.dose for point in found.of("patch")] == list(marks_that_last.DOSES["prune"][1])
