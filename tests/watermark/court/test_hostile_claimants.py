"""Claimants who cheat convict no innocent, and stop no trial; each finds out why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
import torch
from court_stand_ins import BEFORE, JUDGE, NOTARY, RECIPE, RELEASED, network, noisy_copy, world

from labkit.signing import Signer
from labkit.watermark.attacks import interface, theft
from labkit.watermark.court import claims, forgery, two_owners
from labkit.watermark.court.cases import Accused
from labkit.watermark.court.deposits import Deposit, Notary
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import Plan
from labkit.watermark.court.trial import open_trial, try_suspects
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet

PLAN = Plan(alpha=0.05)  # the more there is to convict, the fewer keys to draw


def tried(*accused, nulls=None, docket=None, **settings):
    everybody = world()
    docket = Docket() if docket is None else docket
    nulls = everybody.nulls if nulls is None else nulls
    return try_suspects(
        PLAN, accused, nulls, everybody.owner, notary=NOTARY.public, judge=JUDGE, docket=docket, **settings
    )


def case_of(claim, model=None, **settings):
    """Return what the court makes of one claim against an innocent, or against ``model``."""
    model = world().innocents[0] if model is None else model
    return tried(Accused("the accused", model, claim, RELEASED), **settings)["the accused"]


def fresh_notary() -> Notary:
    """Return the same notary with an empty book: each test's claimant comes for the first time."""
    return Notary(Signer.from_seed(bytes([9] * 32)))


def claim_with(brought, *, key=None, model=None, records=None, moment=BEFORE, **options):
    """Return a claim that commits to all that it brings, deposited in time."""
    everybody = world()
    return claims.claim_on(
        "a claimant",
        everybody.surrogates[0] if model is None else model,
        Key.from_phrase("a claimant") if key is None else key,
        brought,
        everybody.others if records is None else records,
        notary=fresh_notary(),
        moment=moment,
        **options,
    )


@cache
def optimised() -> TriggerSet:
    """Return pictures that innocent models answer as the forger says: nine in ten."""
    everybody = world()
    x, y = everybody.others.test_x[:200], everybody.others.test_y[:200]
    return forgery.forge(everybody.surrogates, x, y, 50, radius=0.05, steps=8, engine="own")


def test_own_pictures_through_options_are_not_drawn():
    """The court once drew "noise of strength 0" on base pictures that came as an option: the forger's own."""
    made = optimised()
    brought = TriggerSet(made.x, made.y, "noise")
    for options in (
        {"base_x": made.x, "base_y": made.y, "blend": 0.0},
        {"part": "marks"},
        {"dataset": 1},
    ):
        plain = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
        case = case_of(replace(claim_with(brought, **plain), options=options))
        assert case.outcome == "dismissed"
        assert not case.speaking
        assert any("not for a claimant to choose" in said for said in case.findings)
    with pytest.raises(ValueError, match="binds nobody"):
        claim_with(brought, base_x=made.x)


def test_options_chosen_after_the_commitment_are_noticed():
    claim = world().claim
    later = replace(claim, options={"blend": 0.5})
    assert any(said.startswith("options:") for said in case_of(later).problems)
    fewer = replace(claim, triggers=claim.triggers.take(60))
    assert any(said.startswith("number of triggers: 100") for said in case_of(fewer).problems)


def test_records_picked_after_the_release_are_not_those_committed_to():
    """The forger learns what the suspect is sure of, and says that those were his training records."""
    everybody = world()
    suspect, data = everybody.innocents[0], everybody.others
    with torch.no_grad():
        sure = (
            suspect(data.test_x)
            .log_softmax(1)[torch.arange(len(data.test_y)), data.test_y]
            .argsort()
            .flip(0)[:700]
        )
    picked = replace(data, train_x=data.test_x[sure], train_y=data.test_y[sure], digest="")
    honest = claim_with(everybody.claim.triggers.take(50))
    case = case_of(replace(honest, records=picked))
    assert "the training records are not those that were committed to" in case.problems
    assert not case.derived


@cache
def stolen_early():
    """Return a model made from the owner's answers: the thief's, who deposits in June what he stole in May."""
    everybody = world()
    api = interface.Api(everybody.marked.model)
    made = theft.steal(api, everybody.others.train_x, network, RECIPE, test=everybody.others, seed=77)
    return made.model


def test_a_thief_who_committed_first_does_not_convict_the_owners_next_product():
    """Likeness has no direction: the owner's new model resembles the thief's copy, and came from neither."""
    everybody = world()
    key = Key.from_phrase("the thief, early")
    brought = triggers.draw("patch", key, 50, dataset=everybody.owner)
    early = claim_with(brought, key=key, model=stolen_early())
    product = noisy_copy(everybody.marked.model, 0.2)
    case = case_of(early, product)
    assert not case.problems
    assert set(case.speaking) & {"mistakes", "agreement"}
    assert case.outcome == "related"


def test_the_accused_answers_with_an_older_deposit_of_this_very_model():
    everybody = world()
    model = everybody.marked.model
    older = claims.claim_on(
        "the accused",
        model,
        everybody.marked.key,
        everybody.claim.triggers,
        everybody.owner,
        notary=fresh_notary(),
        moment=BEFORE - timedelta(days=30),
    )
    accused = Accused("the accused", model, everybody.claim, RELEASED, older)
    case = tried(accused)["the accused"]
    assert case.outcome == "answered"
    assert "deposited this very model before" in case.verdict
    later = replace(older, deposit=everybody.claim.deposit)
    refused = tried(replace(accused, answer=later))["the accused"]
    assert refused.derived
    assert any("own claim is not heard" in said for said in refused.findings)


def test_the_accused_answers_with_an_older_mark_in_the_claimants_original():
    """The thief marks what he stole and accuses the owner's other copy; the owner's mark is in the thief's "original"."""
    everybody = world()
    key = Key.from_phrase("the thief, in July")
    brought = triggers.draw("patch", key, 50, dataset=everybody.owner)
    theirs = claim_with(
        brought, key=key, model=noisy_copy(everybody.marked.model, 0.1), moment=RELEASED - timedelta(1)
    )
    product = noisy_copy(everybody.marked.model, 0.2)
    accused = Accused("the accused", product, theirs, RELEASED, everybody.claim)
    excuse, _ = open_trial(
        PLAN, [accused], everybody.nulls, everybody.owner, notary=NOTARY.public, judge=JUDGE, docket=Docket()
    )._answer(accused)
    assert "the owner's mark, deposited before, is in a claimant's own original" in excuse


def test_ground_keys_fit_innocents_and_convict_none():
    """The best of 40 keys, tried on models of the forger's own before the commitment."""
    everybody = world()
    surrogate = everybody.surrogates[0]
    key, share = two_owners.lucky_key(surrogate, "unrelated", everybody.owner, tries=40, count=50)
    assert share > 0.5
    brought = triggers.draw("unrelated", key, 50, dataset=everybody.owner)
    ground = claim_with(brought, key=key, model=surrogate)
    for innocent in everybody.innocents[:2]:
        case = case_of(ground, innocent)
        assert not case.problems
        assert not case.derived
        assert "mark" not in case.speaking


def test_a_back_dated_moment_counts_for_nothing_without_a_notary():
    everybody = world()
    late = claims.claim_on(
        "a claimant",
        everybody.marked.model,
        everybody.marked.key,
        everybody.claim.triggers,
        everybody.owner,
        moment=BEFORE,
    )
    assert late.commitment.moment.startswith("2025-01-01")
    assert any("the claimant's own word" in said for said in case_of(late, everybody.marked.model).problems)
    after = fresh_notary().deposit(late.commitment, moment=RELEASED + timedelta(days=1))
    case = case_of(replace(late, deposit=after), everybody.marked.model)
    assert any("not before the suspect's release" in said for said in case.problems)
    own = Notary(Signer.from_seed(bytes([1] * 32))).deposit(late.commitment, moment=BEFORE)
    rewritten = replace(after, moment=BEFORE.isoformat())
    for receipt in (own, rewritten):
        case = case_of(replace(late, deposit=receipt), everybody.marked.model)
        assert "the deposit is not signed by the court's notary" in case.problems


def test_moments_without_a_zone_are_findings_and_no_errors():
    everybody = world()
    signer = Signer.from_seed(bytes([9] * 32))
    blank = Deposit("the owner", everybody.claim.commitment.record, 1, "2025-01-01T00:00:00")
    naive = replace(blank, signature=signer.sign(blank.message))
    case = case_of(replace(everybody.claim, deposit=naive))
    assert any("no possible moment" in said for said in case.problems)
    accused = Accused("the accused", everybody.marked.model, everybody.claim)
    assert any("nobody knows when" in said for said in tried(accused)["the accused"].problems)


def test_an_opening_cannot_be_replayed_by_who_heard_it():
    """After one trial everybody has key, model and commitment; the claimant's name is bound, and the key is burnt."""
    everybody = world()
    docket = Docket()
    first = case_of(everybody.claim, everybody.marked.model, docket=docket)
    assert first.derived
    replayed = replace(everybody.claim, claimant="somebody else")
    problems = case_of(replayed, everybody.marked.model, docket=Docket()).problems
    assert any("is the owner's, not somebody else's" in said for said in problems)
    renamed = replace(everybody.claim.commitment, claimant="somebody else")
    problems = case_of(
        replace(replayed, commitment=renamed), everybody.marked.model, docket=Docket()
    ).problems
    assert any("does not open" in said for said in problems)
    again = tried(Accused("another", everybody.marked.model, everybody.claim, RELEASED), docket=docket)[
        "another"
    ]
    assert any("opened in an earlier trial" in said for said in again.problems)


def test_one_suspect_at_a_time_has_one_alpha():
    """Who tries a hundred innocents one by one, at full alpha each, would convict one; the first trial burns the key."""
    everybody = world()
    docket = Docket()
    for number, innocent in enumerate(everybody.innocents[:2]):
        accused = Accused(f"innocent {number}", innocent, everybody.claim, RELEASED)
        case = tried(accused, docket=docket)[accused.name]
        assert bool(case.problems) == (number > 0)


def test_a_plan_is_tried_once_and_a_second_call_asks_nothing():
    everybody = world()
    asked = []

    def counting(x):
        asked.append(len(x))
        return everybody.innocents[0](x).softmax(1).detach()

    docket, accused = Docket(), Accused("one", counting, everybody.claim, RELEASED)
    first, before = tried(accused, docket=docket), None
    before = len(asked)
    assert tried(accused, docket=docket) is first
    assert len(asked) == before


def test_two_deposits_of_a_party_that_announced_one_are_two_tries():
    everybody = world()
    notary = fresh_notary()
    made = [
        claims.bring(
            "the owner", everybody.marked, everybody.owner, notary=notary, moment=BEFORE + timedelta(days=day)
        )
        for day in (0, 1)
    ]
    assert [claim.deposit.number for claim in made] == [1, 2]
    assert not case_of(made[0], everybody.marked.model).problems
    assert any("announced 1" in said for said in case_of(made[1], everybody.marked.model).problems)


def test_null_models_that_count_twice_are_refused():
    """One model passed twenty times, or with a little noise, is one witness."""
    everybody = world()
    accused = Accused("the accused", everybody.innocents[0], everybody.claim, RELEASED)
    with pytest.raises(ValueError, match="20 null models are 1 distinct ones"):
        tried(accused, nulls=[everybody.nulls[0]] * 20)
    with pytest.raises(ValueError, match="copies of one model"):
        tried(accused, nulls=[*everybody.nulls[1:], noisy_copy(everybody.nulls[1], 0.003)])
    with pytest.raises(ValueError, match="a suspect's or claimant's model is among"):
        tried(accused, nulls=[*everybody.nulls[1:], everybody.innocents[0]])


def test_a_mark_that_is_not_in_the_claimants_own_original_is_not_heard():
    everybody = world()
    claim = claims.claim_on(
        "a claimant",
        everybody.surrogates[0],
        everybody.marked.key,
        everybody.claim.triggers,
        everybody.others,
        notary=fresh_notary(),
        moment=BEFORE,
    )
    case = case_of(claim, everybody.marked.model)
    assert "mark" not in case.lines
    assert any("not shown in a claimant's own original" in said for said in case.findings)
    assert not case.derived


def test_a_stranger_who_marked_a_model_by_the_same_scheme_is_innocent():
    """Null models never show it; redrawn keys do: the stranger's network takes any patch for its own, less surely."""
    from labkit.watermark.marks import embed

    everybody = world()
    theirs = embed.embed(
        "patch",
        everybody.surrogates[1],
        everybody.others,
        Key.from_phrase("a stranger"),
        recipe=RECIPE,
        marks=140,
        count=20,
    )
    target = int(everybody.claim.triggers.y[0])
    case = case_of(everybody.claim, theirs.model)
    assert int(theirs.triggers.y[0]) == target or "mark" not in case.speaking
    assert not case.derived


def test_a_claim_whose_own_model_raises_stops_no_trial():
    everybody = world()

    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            raise RuntimeError("no")

    broken = claims.claim_on(
        "a claimant",
        Broken(),
        everybody.marked.key,
        everybody.claim.triggers,
        everybody.owner,
        notary=fresh_notary(),
        moment=BEFORE,
    )
    sealed = Broken()
    sealed.state_dict = None
    verdicts = tried(
        Accused("one", everybody.innocents[0], broken, RELEASED),
        Accused("two", everybody.innocents[0], replace(broken, model=sealed), RELEASED),
        Accused("three", everybody.marked.model, everybody.claim, RELEASED, replace(broken, model=sealed)),
    )
    assert not verdicts["one"].derived
    assert "cannot be examined" in verdicts["two"].verdict
    assert verdicts["three"].derived


def test_public_records_are_left_out_where_they_are_named():
    """An innocent trained on the owner's records, which were public: it knows them, and that is no theft."""
    everybody = world()
    twin = network()
    from labkit.training.recipe import train_one

    owner = everybody.owner
    twin.load_state_dict(train_one(network, owner.train_x, owner.train_y, RECIPE, 4321, torch.device("cpu")))
    accused = Accused("twin", twin.eval(), everybody.claim, RELEASED)
    assert "inference" in tried(accused)["twin"].speaking
    case = tried(accused, published=[owner.train_x])["twin"]
    assert "inference" not in case.lines
    assert any("private records" in said for said in case.findings)
    assert not case.derived
