"""The ownership court's files, made once for lab 09: claims, a counter-claim, five suspects, and the court's own models.

Arbor sold the answers of a marked model. On one day five models came to market: Arbor accuses four of them, Brook the
fifth. Cove, caught with a sixth, says that Arbor's model is Cove's, and shows a mark in it. Everything is trained on
demand, beside what `labkit.scenarios.owner_and_thief` keeps, and kept in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from labkit import profiles
from labkit.scenarios import one_off, owner_and_thief
from labkit.signing import Signer
from labkit.watermark.court import claims, forgery
from labkit.watermark.court import line_up as suspects
from labkit.watermark.court.claims import Claim
from labkit.watermark.court.deposits import Notary
from labkit.watermark.marks import embed
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel

if TYPE_CHECKING:
    from labkit.scenarios.owner_and_thief import Project
    from labkit.watermark.court.line_up import LineUp

OWNER, FORGER, THIEF = "Arbor", "Brook", "Cove"
COMMITTED = {  # deposited with a notary; the forger was early, which proves nothing
    OWNER: datetime(2025, 3, 3, 9, tzinfo=UTC),
    FORGER: datetime(2025, 2, 10, 9, tzinfo=UTC),
    THIEF: datetime(2025, 6, 16, 9, tzinfo=UTC),
}
NOTARY = Signer.from_seed(hashlib.sha256(b"labkit: the notary of lab 09").digest())
JUDGE = Key.from_phrase("labkit: the court's secret")  # for the lesson alone: a court draws a new one
RELEASED = datetime(2025, 9, 1, 9, tzinfo=UTC)  # when the suspects came to market
SCHEME = owner_and_thief.RESISTANT  # of the owner's mark, which lab 07 made
SURROGATES = 3  # the fewest that `forgery.forge` takes: two to optimise on, one to tell what transfers


def judges(setup: Project) -> list[nn.Module]:
    """Return the court's null models: what an honest competitor trains, and nothing else.

    Same records, network and recipe as the independent suspects, and no record of the owner's: suspects and null models
    are exchangeable. Lab 05's shadow models are smaller and saw some of the owner's records: a mark may be tried on
    them, likeness may not.
    """
    return owner_and_thief.nulls(setup)[: setup.null_count]


def claim(setup: Project) -> Claim:
    """Return the owner's claim, on the mark that lab 07 made to last."""
    return claims.bring(OWNER, victim(setup), setup.owner, notary=Notary(NOTARY), moment=COMMITTED[OWNER])


def victim(setup: Project) -> MarkedModel:
    """Return the owner's marked model, that of lab 07."""
    return owner_and_thief.marked(setup, SCHEME, setup.seeds[0])


def surrogates(setup: Project) -> list[nn.Module]:
    """Return the forger's own models, each trained on half of the records that are not the owner's."""
    from labkit.watermark.verification.null_models import null_models

    innocent = setup.innocent_data()
    half = len(innocent.train_y) // 2
    return null_models(innocent, setup.make_model, setup.recipe, count=SURROGATES, seed=300, records=half)


def forged(setup: Project) -> Claim:
    """Return the forger's claim: triggers that were optimised on models of his own, and committed to early.

    His train records are the ones that the innocent learnt from, too: the worst case for a judge.
    """
    profile = profiles.current()
    count, bases = profile.pick(smoke=(25, 200), laptop=(100, 1000), full=(200, 2000))
    own, test = surrogates(setup), setup.owner

    optimise = partial(forgery.forge, own, test.test_x[:bases], test.test_y[:bases], count)
    settings = {
        "surrogates": [dict(model.state_dict()) for model in own],
        "bases": test.test_x[:bases],
        "count": count,
        "engine": forgery.available(),
    }
    made = owner_and_thief.kept(setup, "forged", settings, optimise, forgery.forge)
    return claims.claim_on(
        FORGER,
        own[0],
        Key.from_phrase("forger"),
        made,
        setup.innocent_data(),
        notary=Notary(NOTARY),
        moment=COMMITTED[FORGER],
    )


def remarked(setup: Project) -> MarkedModel:
    """Return the owner's model after a thief marked it a second time, by a few gentle epochs."""
    place = _second_mark(setup)
    full, stolen, theirs = setup.recipe, victim(setup), setup.innocent_data()
    gentle = replace(full, epochs=max(2, full.epochs // 3), learning_rate=full.learning_rate / 3)
    marks = max(100, len(theirs.train_y) // 10)
    key = Key.from_phrase("the thief's own")

    train = partial(embed.embed, "patch", stolen.model, theirs, key, recipe=gentle, marks=marks, **place)
    settings = {"victim": dict(stolen.model.state_dict()), "key": key.fingerprint, "marks": marks, **place}
    return owner_and_thief.kept(
        setup, "remarked", settings | {"gentle": gentle}, train, embed.embed, *embed.SCHEMES.values()
    )


def _second_mark(setup: Project) -> dict[str, str | int]:
    """Return where the thief's patch sits, and an answer that is not the owner's."""
    taken = int(victim(setup).triggers.y[0])
    return {"place": "top left", "target": (taken + 1) % len(setup.owner.classes)}


def counter_claim(setup: Project) -> Claim:
    """Return the thief's claim to what he stole, committed to before the release, but after the owner."""
    return claims.bring(
        THIEF,
        remarked(setup),
        setup.innocent_data(),
        notary=Notary(NOTARY),
        moment=COMMITTED[THIEF],
        **_second_mark(setup),
    )


def line_up(setup: Project, accusation: Claim, forgery_: Claim) -> LineUp:
    """Return the five suspects under numbers: see `labkit.watermark.court.line_up.line_up`.

    The seed is that of lab 07's first thief, so that the extracted suspect is he, and comes from the cache.
    """
    maker = _maker(setup)
    return suspects.line_up(
        accusation,
        forgery_,
        maker.others,
        maker.make_model,
        maker.recipe,
        seed=maker.seed,
        released=RELEASED,
    )


def _maker(setup: Project) -> suspects.Maker:
    return suspects.Maker(
        victim(setup).model,
        setup.innocent_data(),
        setup.make_model,
        setup.recipe,
        owner_and_thief.THIEF + setup.seeds[0],
    )


def queries(setup: Project) -> dict[str, int]:
    """Return how many records a suspect may be shown for each line of evidence, at the project's size.

    More than `labkit.watermark.court.plan.QUERIES`: a model that was extracted repeats some more mistakes than an innocent
    one, not all of them, and it takes many records to tell that from chance.
    """
    triggers = len(victim(setup).triggers)
    return {
        "mark": min(40, triggers),
        "mistakes": 2000,
        "agreement": len(setup.owner.test_y) // 5,
        "inference": 4000,
    }


def prepare() -> None:
    """Do the one-off work of lab 09, model by model: an interrupt loses one model at most."""
    setup = owner_and_thief.project()
    if setup.profile == "laptop":
        print(
            "lab 09: five models of a minute each and the forger's pictures, beside what lab 07 prepares; interrupt at will"
        )
    with one_off.part("the court's null models"):
        judges(setup)
    with one_off.part("five suspects, a second mark, controls"):
        five = [partial(_suspect, name) for name in suspects.ALL]
        owner_and_thief.in_workers(
            [*five, *(partial(_other, make) for make in (remarked, known_thief, twin))]
        )
    with one_off.part("the forger's models and pictures"):
        forgery_ = forged(setup)
    with one_off.part("claims"):
        line_up(setup, claim(setup), forgery_)
        counter_claim(setup)


def _suspect(name: str) -> None:
    suspects.suspect(_maker(owner_and_thief.project()), name)


def _other(make: Callable[[Project], object]) -> None:
    make(owner_and_thief.project())


def known_thief(setup: Project) -> nn.Module:
    """Return a thief who confessed, the positive control: lab 07's, who saw labels alone."""
    return owner_and_thief.stolen(setup, victim(setup).model, setup.seeds[0], answers="labels").model


def twin(setup: Project) -> nn.Module:
    """Return an innocent model trained on the very records of the owner's: lab 07's unmarked one, of another seed."""
    return owner_and_thief.plain(setup, setup.seeds[1])
