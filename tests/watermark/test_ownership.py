"""The court's files: who has seen which records, who committed when, and that everything is made once; on noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from labkit import cache
from labkit.watermark import court, ownership, project
from labkit.watermark.plan import Plan
from labkit.watermark.verify import NULLS


@pytest.fixture(autouse=True)
def _own_engine(monkeypatch):
    """CleverHans takes seconds to import, and `test_forgery` tries every engine."""
    monkeypatch.setattr(ownership.forgery, "available", lambda: "own")


def rows(x: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


def files() -> set[str]:
    """Return what the cache holds: a training leaves a file."""
    return {str(path) for path in cache.directory().rglob("*.pt")}


@pytest.fixture
def mixed(setup) -> project.Project:
    """The same project, half of the owner's records taken from lab 05's pool."""
    pool = project.bank_of(setup)
    owner = setup.owner
    x, y = owner.train_x.clone(), owner.train_y.clone()
    x[:100], y[:100] = pool.x[:100], pool.y[:100]
    x[100:] = torch.rand(x[100:].shape, generator=torch.Generator().manual_seed(3))  # in nobody's pool
    return replace(setup, owner=replace(owner, train_x=x, train_y=y, digest=""))


def test_no_null_model_met_a_record_that_dataset_inference_uses(mixed) -> None:
    left = ownership.unseen(mixed)
    assert rows(left.train_x) == rows(mixed.owner.train_x[100:])
    assert torch.equal(left.train_y, mixed.owner.train_y[100:])
    assert not rows(left.train_x) & rows(mixed.thief_x)
    assert torch.equal(left.test_x, mixed.owner.test_x)


def test_shadow_models_serve_only_where_the_courts_own_are_too_few(setup, monkeypatch) -> None:
    assert len(ownership.judges(setup)) == setup.null_count + len(project.bank_of(setup))
    many = replace(setup, null_count=NULLS)
    monkeypatch.setattr(project, "nulls", lambda _: list(range(NULLS + 4)))
    assert ownership.judges(many) == list(range(NULLS))
    assert ownership.unseen(many) is many.owner


def test_the_owner_and_the_thief_may_be_heard_and_the_forger_may_not(setup) -> None:
    problems = {
        claim.claimant: claim.problems(setup.owner, released=ownership.RELEASED)
        for claim in (ownership.claim(setup), ownership.counter_claim(setup), ownership.forged(setup))
    }
    assert problems[ownership.OWNER] == problems[ownership.THIEF] == []
    assert len(problems[ownership.FORGER]) == 1
    assert "do not follow from the key" in problems[ownership.FORGER][0]
    times = ownership.COMMITTED
    assert times[ownership.FORGER] < times[ownership.OWNER] < times[ownership.THIEF] < ownership.RELEASED


def test_the_thiefs_mark_is_another_than_the_owners(setup) -> None:
    owner, thief = ownership.claim(setup), ownership.counter_claim(setup)
    assert not set(owner.triggers.y.tolist()) & set(thief.triggers.y.tolist())
    assert owner.commitment.model != thief.commitment.model


def test_the_line_up_is_made_once_and_its_thief_is_lab_07s(setup, monkeypatch) -> None:
    owner, forger = ownership.claim(setup), ownership.forged(setup)
    lined = ownership.line_up(setup, owner, forger)
    assert [one.claim for one in lined.accused].count(forger) == 1
    thief = next(k for k in range(1, 6) if lined.reveal(k).name == "extracted")
    theft = project.stolen(setup, owner.model, setup.seeds[0]).model
    own = lined.number(thief).model.state_dict()
    assert all(torch.equal(own[name], weight) for name, weight in theft.state_dict().items())
    before = files()
    again = ownership.line_up(setup, owner, forger)
    assert again._truth == lined._truth
    assert files() == before


def test_a_plan_of_these_queries_can_be_tried(setup) -> None:
    owner, forger = ownership.claim(setup), ownership.forged(setup)
    lined = ownership.line_up(setup, owner, forger)
    asked = ownership.queries(setup)
    assert asked.pop("mark") == len(owner.triggers)  # too few here for a plan
    plan = Plan(queries=asked, minimum=setup.minimum)
    verdicts = court.try_suspects(plan, lined.accused, ownership.judges(setup), setup.owner)
    assert not any(verdicts.answers().values())  # a rehearsal: too few null models
    for case in (*verdicts.cases, *verdicts.controls):
        assert all(line.queries <= plan.queries[name] for name, line in case.lines.items())


def test_prepare_leaves_nothing_to_train(setup, monkeypatch) -> None:
    monkeypatch.setattr(project, "project", lambda: setup)
    ownership.prepare()
    before = files()
    ownership.line_up(setup, ownership.claim(setup), ownership.forged(setup))
    ownership.counter_claim(setup)
    ownership.known_thief(setup)
    ownership.judges(setup)
    assert files() == before
