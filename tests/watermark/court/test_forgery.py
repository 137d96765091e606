"""A forger fools naive judges and nobody else; triggers stay within their radius, by every engine."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from court_stand_ins import NOTARY, RELEASED, world
from torch import nn

from labkit.watermark.court import claims, commitments, forgery, hearing
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet
from labkit.watermark.verification import verify

ENGINES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name != "own" and not importlib.util.find_spec(name),
            reason=f"{name} is not installed (bridges extra)",
        ),
    )
    for name in forgery.ENGINES
]


def test_descent_reaches_the_best_point_of_a_linear_model():
    """For two classes and linear logits the best change is the radius, with the sign of the weights' difference."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = 0.5 + 0.05 * torch.randn(4, 3, 2, 2, generator=generator)
    target = torch.tensor([0, 1, 0, 1])
    moved = forgery.own(model, x, target, radius=0.1, steps=10)
    weight = model[1].weight.detach()
    best = torch.stack([(weight[t] - weight[1 - t]).sign().view(3, 2, 2) for t in target.tolist()])
    assert torch.allclose(moved - x, 0.1 * best, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_makes_triggers_that_transfer_to_innocents(engine):
    everybody = world()
    x, y = everybody.others.test_x[:200], everybody.others.test_y[:200]
    made = forgery.forge(everybody.surrogates, x, y, 60, radius=0.05, steps=8, engine=engine)
    assert len(made) == 60
    assert float(made.x.min()) >= 0
    assert float(made.x.max()) <= 1
    nearest = torch.cdist(made.x.flatten(1), x.flatten(1), p=torch.inf).min(1).values
    assert float(nearest.max()) <= 0.05 + 1e-5
    before = [(verify.answers(m, x) == y.numpy()).mean() for m in everybody.innocents]
    assert np.mean(before) > 0.6
    for innocent in everybody.innocents:
        assert (verify.answers(innocent, made.x) == made.y.numpy()).mean() > 0.6


def test_engine_is_the_first_that_is_installed(monkeypatch):
    assert forgery.available() in forgery.ENGINES
    monkeypatch.setattr(forgery.importlib.util, "find_spec", lambda name: None)
    assert forgery.available() == "own"
    everybody = world()
    with pytest.raises(ValueError, match=r"labkit\[bridges\]"):
        forgery.forge(everybody.surrogates, everybody.others.test_x, everybody.others.test_y, 5, engine="art")


def test_surrogates_keep_their_weights_and_gradients():
    everybody = world()
    before = commitments.model_digest(everybody.surrogates[0])
    forgery.forge(
        everybody.surrogates, everybody.others.test_x[:20], everybody.others.test_y[:20], 5, engine="own"
    )
    assert commitments.model_digest(everybody.surrogates[0]) == before
    assert all(
        weight.requires_grad and weight.grad is None for weight in everybody.surrogates[0].parameters()
    )


def test_a_false_claim_fools_naive_judges_and_no_others():
    everybody = world()
    for innocent in everybody.innocents:
        heard = hearing.hear(everybody.forged, innocent, everybody.nulls, everybody.owner)
        assert heard.fools_naive
        assert not heard.redrawn
        assert not heard.verdict.decided
        assert not heard.accepted


def test_an_early_date_does_not_help_the_forger_and_the_triggers_alone_give_him_away():
    everybody = world()
    assert everybody.forged.commitment.verify(everybody.forged.key, everybody.forged.model)
    problems = everybody.forged.problems(everybody.owner, notary=NOTARY.public, released=RELEASED)
    assert len(problems) == 1
    assert "do not follow from the key" in problems[0]


def test_the_owners_claim_stands_against_the_marked_model_and_not_against_innocents():
    everybody = world()
    heard = hearing.hear(everybody.claim, everybody.marked.model, everybody.nulls, everybody.owner)
    assert heard.accepted
    assert not everybody.claim.problems(everybody.owner, notary=NOTARY.public, released=RELEASED)
    assert not hearing.hear(
        everybody.claim, everybody.innocents[0], everybody.nulls, everybody.owner
    ).accepted


def test_one_changed_trigger_or_answer_is_noticed():
    everybody = world()
    drawn = everybody.claim.triggers
    x, y = drawn.x.clone(), drawn.y.clone()
    x[3, 0, 0, 0] = (x[3, 0, 0, 0] + 0.5) % 1
    y[4] = (y[4] + 1) % 4
    for changed in (TriggerSet(x, drawn.y, drawn.kind), TriggerSet(drawn.x, y, drawn.kind)):
        assert not replace(everybody.claim, triggers=changed).reproducible(everybody.owner)


def test_other_triggers_from_the_forgers_own_test_records_are_not_the_courts():
    """A claimant who brings other held-out records than the court's gets other triggers."""
    everybody = world()
    theirs = replace(everybody.owner, test_x=everybody.owner.test_x.flip(0), digest="")
    assert everybody.claim.reproducible(everybody.owner)
    assert not everybody.claim.reproducible(theirs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: replace(c, commitment=None), "nothing was committed"),
        (lambda c: replace(c, key=Key.from_phrase("another")), "does not open"),
        (lambda c: replace(c, model=world().nulls[0]), "another model"),
        (lambda c: replace(c, deposit=None), "the claimant's own word"),
        (lambda c: replace(c, claimant="another"), "is the owner's, not another's"),
        (lambda c: replace(c, records=world().others), "the training records are not those"),
        (
            lambda c: replace(c, triggers=replace(c.triggers, kind="noise")),
            "kind: patch was committed to, noise is brought",
        ),
    ],
)
def test_claims_are_dismissed_for_a_stated_reason(change, says):
    everybody = world()
    assert says in "; ".join(
        change(everybody.claim).problems(everybody.owner, notary=NOTARY.public, released=RELEASED)
    )


def test_kinds_that_no_generator_draws_are_not_heard():
    everybody = world()
    strange = replace(
        everybody.claim, triggers=TriggerSet(everybody.claim.triggers.x, everybody.claim.triggers.y, "mine")
    )
    assert not strange.drawable
    with pytest.raises(ValueError, match="'mine' triggers are none of the keyed generator's"):
        strange.redraw(everybody.owner)
    white_box = replace(everybody.marked, triggers=None)
    with pytest.raises(ValueError, match="has no triggers"):
        claims.bring("the owner", white_box, everybody.owner)


def test_refusals():
    everybody = world()
    x, y = everybody.others.test_x[:10], everybody.others.test_y[:10]
    for settings in ({"surrogates": everybody.surrogates[:2]}, {"count": 11}, {"radius": 0.0}, {"steps": 0}):
        arguments = {
            "surrogates": everybody.surrogates,
            "x": x,
            "y": y,
            "count": 5,
            "engine": "own",
        } | settings
        with pytest.raises(ValueError, match="expected at least 3 surrogates"):
            forgery.forge(**arguments)


def test_hearings_show_and_save_themselves(tmp_path):
    everybody = world()
    heard = hearing.hear(everybody.forged, everybody.innocents[0], everybody.nulls, everybody.owner)
    assert list(heard.table()["claim"]) == ["accepted", "accepted", "rejected", "rejected"]
    assert "the court's own models" in heard.plot().alt_text
    assert '"accepted": false' in heard.save(tmp_path / "hearing.json").read_text()
    assert "<table" in heard._repr_html_()
    assert "rejected" in repr(heard)
