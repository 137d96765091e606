"""Two claimants: the thief who marks again, who invents a key, who back-dates; and when nothing can be said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache

import pytest
from court_stand_ins import BEFORE, NOTARY, RECIPE, RELEASED, world

from labkit.signing import Signer
from labkit.watermark import Key
from labkit.watermark.court import claims, commitments, two_owners
from labkit.watermark.court.deposits import Notary
from labkit.watermark.marks import embed, triggers
from labkit.watermark.verification import verify

LATER = BEFORE + timedelta(days=30)


@cache
def overwritten():
    """Return the owner's model, marked a second time by the thief with a few gentle epochs."""
    everybody = world()
    gentle = replace(RECIPE, epochs=6, learning_rate=0.03)
    key = Key.from_phrase("the thief")
    target = (int(everybody.claim.triggers.y[0]) + 1) % 4
    place = {"place": "top left", "target": target}
    return embed.embed(
        "patch", everybody.marked.model, everybody.others, key, recipe=gentle, marks=140, count=100, **place
    ), place


def thief_claims(moment=LATER):
    marked, options = overwritten()
    return claims.bring("the thief", marked, world().others, notary=fresh_notary(), moment=moment, **options)


def fresh_notary():
    """Return the court's notary with an empty book: each test's claimant comes for the first time."""
    return Notary(Signer.from_seed(bytes([9] * 32)))


def resolve(*arguments, **settings):
    return two_owners.resolve(*arguments, notary=NOTARY.public, **settings)


def test_who_marked_the_stolen_model_again_loses():
    everybody = world()
    stolen = overwritten()[0].model
    for pair in ((everybody.claim, thief_claims()), (thief_claims(), everybody.claim)):
        dispute = resolve(*pair, stolen, everybody.nulls, everybody.owner, released=RELEASED)
        assert all(side.stands for side in dispute.sides)
        assert dispute.winner == "the owner"
        assert "is in the original of the thief, and not the other way round" in dispute.reason


def test_marks_and_dates_that_contradict_each_other_decide_nothing():
    everybody = world()
    early = thief_claims(BEFORE - timedelta(days=1))
    dispute = resolve(everybody.claim, early, overwritten()[0].model, everybody.nulls, everybody.owner)
    assert dispute.winner is None
    assert "who deposited earlier" in dispute.reason


def test_a_commitment_after_the_suspects_release_is_not_heard():
    everybody = world()
    late = thief_claims(RELEASED + timedelta(days=1))
    stolen = overwritten()[0].model
    dispute = resolve(late, everybody.claim, stolen, everybody.nulls, everybody.owner, released=RELEASED)
    assert dispute.winner == "the owner"
    assert "not before the suspect's release" in dispute.reason


def test_a_key_invented_after_the_fact_fits_innocents_as_well():
    """The best of 40 keys hits beyond chance, and the null models show that it is no mark."""
    everybody = world()
    stolen = everybody.marked.model
    key, share = two_owners.lucky_key(stolen, "unrelated", everybody.owner, tries=40, count=20)
    assert share > 0.5
    drawn = triggers.draw("unrelated", key, 20, dataset=everybody.owner)
    invented = claims.Claim(
        "the inventor",
        stolen,
        key,
        drawn,
        commitments.commit(
            key,
            stolen,
            kind="unrelated",
            claimant="the inventor",
            count=20,
            records=everybody.owner,
            moment=BEFORE,
        ),
        everybody.owner,
    )
    invented = replace(invented, deposit=fresh_notary().deposit(invented.commitment, moment=BEFORE))
    assert not invented.problems(everybody.owner, notary=NOTARY.public, released=RELEASED)
    assert not verify.verify(stolen, drawn, everybody.nulls).decided
    dispute = resolve(everybody.claim, invented, stolen, everybody.nulls, everybody.owner, released=RELEASED)
    assert dispute.winner == "the owner"
    assert "its mark is not proven" in dispute.reason


def test_moments_are_compared_as_times_and_not_as_text():
    """Ten in the evening in Tokyo is before three in the afternoon in London, though its text is greater."""
    everybody = world()
    tokyo = timezone(timedelta(hours=9))
    owner = claims.bring(
        "the owner",
        everybody.marked,
        everybody.owner,
        notary=fresh_notary(),
        moment=datetime(2025, 1, 1, 15, tzinfo=UTC),
    )
    early = thief_claims(datetime(2025, 1, 1, 22, tzinfo=tokyo))
    written = replace(early.deposit, moment="2025-01-01T22:00:00+09:00", signature="")
    signed = replace(written, signature=Signer.from_seed(bytes([9] * 32)).sign(written.message))
    early = replace(early, deposit=signed)
    assert early.deposit.moment > owner.deposit.moment  # as text
    dispute = resolve(owner, early, overwritten()[0].model, everybody.nulls, everybody.owner)
    assert dispute.winner is None
    assert "who deposited earlier" in dispute.reason


def test_nobody_wins_an_innocent_model():
    everybody = world()
    dispute = resolve(
        everybody.claim, thief_claims(), everybody.innocents[0], everybody.nulls, everybody.owner
    )
    assert dispute.winner is None
    assert dispute.reason == "neither claim stands"


def test_without_a_mark_in_either_rival_the_date_decides_and_the_reason_says_so():
    """The thief shows an innocent-looking original with his mark alone, and the suspect carries both marks."""
    everybody = world()
    thief = thief_claims()
    own = embed.embed(
        "patch",
        everybody.nulls[0],
        everybody.others,
        thief.key,
        recipe=RECIPE,
        marks=140,
        count=100,
        **overwritten()[1],
    )
    clean = claims.bring(
        "the thief", own, everybody.others, notary=fresh_notary(), moment=LATER, **overwritten()[1]
    )
    dispute = resolve(
        everybody.claim,
        clean,
        overwritten()[0].model,
        everybody.nulls[1:] + everybody.innocents,
        everybody.owner,
    )
    assert dispute.winner == "the owner"
    assert "the older deposit decides" in dispute.reason
    assert "mistakes" in dispute.reason


def test_disputes_show_and_save_themselves(tmp_path):
    everybody = world()
    dispute = resolve(
        everybody.claim, thief_claims(), overwritten()[0].model, everybody.nulls, everybody.owner
    )
    assert dispute.table().loc["owner"].to_dict() == {"the owner": "yes", "the thief": "no"}
    assert "three models" in dispute.plot().alt_text
    assert '"winner": "the owner"' in dispute.save(tmp_path / "dispute.json").read_text()
    assert "the owner" in repr(dispute)
    assert "<table" in dispute._repr_html_()


def test_no_tries_are_refused():
    with pytest.raises(ValueError, match="tries is 0"):
        two_owners.lucky_key(world().nulls[0], "unrelated", world().owner, tries=0, count=5)
