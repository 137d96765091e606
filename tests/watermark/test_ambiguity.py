"""Two claimants: the thief who marks again, who invents a key, who back-dates; and when nothing can be said."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from court_stand_ins import BEFORE, RECIPE, RELEASED, world

from labkit.watermark import Key
from labkit.watermark.court import claims, commitments, two_owners
from labkit.watermark.court.two_owners import resolve
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
    place = {"place": "top left", "pattern": "checker", "target": target}
    return embed.embed(
        "patch", everybody.marked.model, everybody.others, key, recipe=gentle, marks=140, count=100, **place
    ), place


def thief_claims(moment=LATER):
    marked, options = overwritten()
    return claims.bring("the thief", marked, world().others, moment=moment, **options)


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
    assert "who committed earlier" in dispute.reason


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
        commitments.commit(key, stolen, kind="unrelated", moment=BEFORE),
        everybody.owner,
    )
    assert not invented.problems(everybody.owner, released=RELEASED)
    assert not verify.verify(stolen, drawn, everybody.nulls).decided
    dispute = resolve(everybody.claim, invented, stolen, everybody.nulls, everybody.owner, released=RELEASED)
    assert dispute.winner == "the owner"
    assert "its mark is not proven" in dispute.reason


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
    clean = claims.bring("the thief", own, everybody.others, moment=LATER, **overwritten()[1])
    dispute = resolve(
        everybody.claim,
        clean,
        overwritten()[0].model,
        everybody.nulls[1:] + everybody.innocents,
        everybody.owner,
    )
    assert dispute.winner == "the owner"
    assert "the older commitment decides" in dispute.reason
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
