"""The court's files: who has seen which records, who committed when, and that everything is made once; on noise."""

from __future__ import annotations

import pytest
import torch

from labkit import cache
from labkit.scenarios import owner_and_thief, ownership_court
from labkit.watermark.court import trial
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import Plan


@pytest.fixture(autouse=True)
def _own_engine(monkeypatch):
    """CleverHans takes seconds to import, and `test_forgery` tries every engine."""
    monkeypatch.setattr(ownership_court.forgery, "available", lambda: "own")


def files() -> set[str]:
    """Return what the cache holds: a training leaves a file."""
    return {str(path) for path in cache.directory().rglob("*.pt")}


def test_the_court_calls_its_own_models_alone_and_they_saw_no_record_of_the_owners(setup) -> None:
    judges = ownership_court.judges(setup)
    assert len(judges) == setup.null_count
    assert len(owner_and_thief.nulls(setup)) > len(judges)
    owners = {row.numpy().tobytes() for row in setup.owner.train_x}
    assert not owners & {row.numpy().tobytes() for row in setup.innocent_data().train_x}
    assert ownership_court.claim(setup).records is setup.owner


def test_the_owner_and_the_thief_may_be_heard_and_the_forger_may_not(setup) -> None:
    problems = {
        claim.claimant: claim.problems(
            setup.owner, notary=ownership_court.NOTARY.public, released=ownership_court.RELEASED
        )
        for claim in (
            ownership_court.claim(setup),
            ownership_court.counter_claim(setup),
            ownership_court.forged(setup),
        )
    }
    assert problems[ownership_court.OWNER] == problems[ownership_court.THIEF] == []
    assert len(problems[ownership_court.FORGER]) == 1
    assert "do not follow from the key" in problems[ownership_court.FORGER][0]
    times = ownership_court.COMMITTED
    assert (
        times[ownership_court.FORGER]
        < times[ownership_court.OWNER]
        < times[ownership_court.THIEF]
        < ownership_court.RELEASED
    )


def test_the_thiefs_mark_is_another_than_the_owners(setup) -> None:
    owner, thief = ownership_court.claim(setup), ownership_court.counter_claim(setup)
    assert not set(owner.triggers.y.tolist()) & set(thief.triggers.y.tolist())
    assert owner.commitment.model != thief.commitment.model


def test_the_line_up_is_made_once_and_its_thief_is_lab_07s(setup, monkeypatch) -> None:
    owner, forger = ownership_court.claim(setup), ownership_court.forged(setup)
    lined = ownership_court.line_up(setup, owner, forger)
    assert [one.claim for one in lined.accused].count(forger) == 1
    thief = next(k for k in range(1, 6) if lined.reveal(k).name == "extracted")
    theft = owner_and_thief.stolen(setup, owner.model, setup.seeds[0]).model
    own = lined.number(thief).model.state_dict()
    assert all(torch.equal(own[name], weight) for name, weight in theft.state_dict().items())
    before = files()
    again = ownership_court.line_up(setup, owner, forger)
    assert again._truth == lined._truth
    assert files() == before


def test_a_plan_of_these_queries_can_be_tried(setup) -> None:
    owner, forger = ownership_court.claim(setup), ownership_court.forged(setup)
    lined = ownership_court.line_up(setup, owner, forger)
    asked = {"mark": 20} | ownership_court.queries(setup)
    plan = Plan(queries=asked | {"mark": max(20, asked["mark"])}, minimum=setup.minimum, alpha=0.05)
    verdicts = trial.try_suspects(
        plan,
        lined.accused,
        owner_and_thief.nulls(setup),
        setup.owner,
        notary=ownership_court.NOTARY.public,
        judge=ownership_court.JUDGE,
        docket=Docket(),
    )
    assert not any(verdicts.answers().values())  # a rehearsal: too few null models
    for case in (*verdicts.cases, *verdicts.controls):
        assert all(line.n <= plan.queries[name] for name, line in case.lines.items())


def test_prepare_leaves_nothing_to_train(setup, monkeypatch) -> None:
    monkeypatch.setattr(owner_and_thief, "project", lambda: setup)
    ownership_court.prepare()
    before = files()
    ownership_court.line_up(setup, ownership_court.claim(setup), ownership_court.forged(setup))
    ownership_court.counter_claim(setup)
    ownership_court.known_thief(setup)
    ownership_court.judges(setup)
    ownership_court.twin(setup)
    assert files() == before
