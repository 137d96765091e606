"""Who has which records, and that models of a pair differ by their marks alone; on noise."""

from __future__ import annotations

import pytest
import torch

from labkit import cache, data
from labkit.scenarios import owner_and_thief
from labkit.watermark import commit
from labkit.watermark.attacks import theft as thieves
from labkit.watermark.marks.keys import Key
from labkit.watermark.privacy import under_dp


def test_owner_and_thief_share_no_record_and_one_split_is_drawn(noise, monkeypatch) -> None:
    monkeypatch.setattr(data, "load", lambda *_, **__: noise)
    whole = owner_and_thief.project()
    mine, theirs = whole.owner.train_x.flatten(1), whole.thief_x.flatten(1)
    assert len(torch.unique(torch.cat([mine, theirs]), dim=0)) == len(mine) + len(theirs)
    assert torch.equal(owner_and_thief.project().thief_x, whole.thief_x)
    assert whole.innocent_data().digest != whole.owner.digest
    assert torch.equal(whole.innocent_data().train_y, whole.thief_y)


def test_a_pair_starts_alike_and_everything_is_trained_once(setup, monkeypatch) -> None:
    plain, marked = owner_and_thief.plain(setup, 1), owner_and_thief.marked(setup, "patch", 1)
    again = owner_and_thief.plain(setup, 1)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), again.parameters(), strict=True))
    start = owner_and_thief.initial(setup, 1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(start.parameters(), owner_and_thief.initial(setup, 1).parameters(), strict=True)
    )
    assert marked.key.fingerprint == owner_and_thief.KEY.fingerprint
    assert marked.scheme == "patch"
    other = owner_and_thief.marked(setup, "patch", 1, key=Key.from_phrase("another"))
    assert not torch.equal(other.triggers.x, marked.triggers.x)
    monkeypatch.setattr(cache, "_made", lambda compute: pytest.fail("trained again"))
    owner_and_thief.plain(setup, 1)
    assert commit(owner_and_thief.KEY, marked.model, kind="patch").verify(owner_and_thief.KEY, marked.model)


def test_a_thief_never_starts_from_the_victims_weights(setup, monkeypatch) -> None:
    seen = []
    real = thieves.steal
    monkeypatch.setattr(thieves, "steal", lambda *a, **k: seen.append(k["seed"]) or real(*a, **k))
    victim = owner_and_thief.plain(setup, 1)
    theft = owner_and_thief.stolen(setup, victim, 1, budgets=setup.budgets)
    assert [point.queries for point in theft.curve] == list(setup.budgets)
    assert not set(seen) & set(setup.seeds)
    hard = owner_and_thief.stolen(setup, victim, 1, answers="labels")
    assert hard.queries == setup.queries
    assert hard.answers.startswith("labels")


def test_null_models_differ_from_each_other_and_from_the_owner(setup) -> None:
    nulls = owner_and_thief.nulls(setup)
    assert len(nulls) == setup.null_count + len(owner_and_thief.bank_of(setup))
    x = setup.owner.test_x[:20]
    answers = [model(x) for model in [owner_and_thief.plain(setup, 1), *nulls]]
    assert all(not torch.allclose(answers[0], other) for other in answers[1:])


def test_marks_under_dp_are_counted_and_stated(setup, tmp_path) -> None:
    from functools import partial

    from labkit.models import strided_cnn

    made = under_dp.strengths(
        setup.owner,
        partial(strided_cnn, 8),
        owner_and_thief.KEY,
        epsilons=(50.0,),
        marks=(0, 60),
        epochs=1,
        seeds=(1,),
        delta=1e-3,
    )
    assert [(row.epsilon, row.marks) for row in made.rows] == [(50.0, 0), (50.0, 60), (None, 0), (None, 60)]
    assert "ε = " in made.rows[0].statement
    assert made.rows[2].statement == under_dp.NO_PRIVACY
    table = made.table()
    assert len(table) == 4
    assert "patch" in repr(made)
    assert made.plot().alt_text
    assert made.save(tmp_path / "dp.json").is_file()
    with pytest.raises(ValueError, match="at least one of each"):
        under_dp.strengths(
            setup.owner, partial(strided_cnn, 8), owner_and_thief.KEY, epsilons=(), marks=(), epochs=1
        )
