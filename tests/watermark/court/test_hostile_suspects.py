"""Suspects who evade: none aborts a trial, each evasion is a finding, and what can be heard still convicts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from court_stand_ins import JUDGE, NOTARY, RELEASED, world

from labkit.watermark.attacks.interface import Api
from labkit.watermark.court.cases import Accused
from labkit.watermark.court.docket import Docket
from labkit.watermark.court.plan import Plan
from labkit.watermark.court.trial import try_suspects

PLAN = Plan(alpha=0.05)


def probabilities(model, x):
    with torch.no_grad():
        return model(x).softmax(1)


def labels_only(model):
    return lambda x: probabilities(model, x).argmax(1)


def refuses(model):
    def answer(x):
        raise PermissionError("ask my lawyer")

    return answer


def refuses_at_times(model):
    calls = iter(range(10**9))

    def answer(x):
        if next(calls) % 3 == 0:
            raise TimeoutError("busy")
        return probabilities(model, x)

    return answer


def says_nan(model):
    """Answer NaN to every picture with anything bright in the lower right corner."""

    def answer(x):
        shown = probabilities(model, x)
        shown[x[..., -3:, -3:].mean((1, 2, 3)) > 0.55] = float("nan")
        return shown

    return answer


def detects_trigger_batches(model):
    """Answer at random if most of a batch has saturated pixels, as marked pictures have."""

    def answer(x):
        shown = probabilities(model, x)
        marked = (x == 1).float().flatten(1).mean(1) > 0.05
        return torch.rand_like(shown).softmax(1) if marked.float().mean() > 0.5 else shown

    return answer


def swaps_near_ties(model):
    def answer(x):
        shown = probabilities(model, x)
        top, place = shown.topk(2, dim=1)
        close = top[:, 0] - top[:, 1] < 0.35
        swapped = shown.clone()
        swapped[close, place[close, 0]], swapped[close, place[close, 1]] = top[close, 1], top[close, 0]
        return swapped

    return answer


def rounds(model):
    return lambda x: (probabilities(model, x) * 100).round() / 100


def answers_at_random(model):
    return lambda x: torch.rand(len(x), 4).softmax(1)


def speaks_gibberish(model):
    return lambda x: ["no"] * len(x)


def leaves_the_room(model):
    """Raise what no `except Exception` catches, and have a budget that cannot be read."""

    class Gone:
        @property
        def left(self):
            raise RuntimeError("no budget for you")

        def __call__(self, x):
            raise SystemExit(1)

    return Gone()


def budget(model):
    return Api(model, budget=3500)


EVASIONS = {
    labels_only: "shows labels alone",
    refuses: "ask my lawyer",
    refuses_at_times: "busy",
    says_nan: "with NaN",
    detects_trigger_batches: "",
    swaps_near_ties: "it swaps them",
    rounds: "rounds probabilities to 2 digits",
    answers_at_random: "otherwise when they were asked again",
    speaks_gibberish: "refused",
    leaves_the_room: "SystemExit",
    budget: "its budget is spent",
}
HIDES = {refuses, answers_at_random, speaks_gibberish, leaves_the_room}  # too little is left to convict


@cache
def tried():
    """Try the stolen model and an innocent one behind every evasion, and both without any, all in one trial."""
    everybody = world()
    models = {"stolen": everybody.marked.model, "innocent": everybody.innocents[0]}
    accused = [
        Accused(f"{who}, {evade.__name__}", evade(model), everybody.claim, RELEASED)
        for evade in EVASIONS
        for who, model in models.items()
    ]
    accused += [Accused(who, model, everybody.claim, RELEASED) for who, model in models.items()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return try_suspects(
            PLAN,
            accused,
            everybody.nulls,
            everybody.owner,
            notary=NOTARY.public,
            judge=JUDGE,
            docket=Docket(),
        )


@pytest.mark.parametrize("evade", EVASIONS, ids=lambda evade: evade.__name__)
def test_each_evasion_is_a_finding_and_convicts_no_innocent(evade):
    stolen, innocent = (tried()[f"{who}, {evade.__name__}"] for who in ("stolen", "innocent"))
    said = "; ".join(stolen.findings)
    assert EVASIONS[evade] in said
    assert not innocent.derived
    assert stolen.derived == (evade not in HIDES), stolen


def test_others_are_tried_as_if_the_evaders_were_not_there():
    assert tried()["stolen"].derived
    assert not tried()["stolen"].findings
    assert tried()["innocent"].outcome == "not shown"


def test_who_does_not_answer_is_not_acquitted():
    for who in ("stolen", "innocent"):
        assert tried()[f"{who}, refuses"].outcome == "no verdict"
        assert tried()[f"{who}, speaks_gibberish"].outcome == "no verdict"
    assert tried()["innocent, refuses"].answered == 0


def test_redrawn_keys_that_were_refused_do_not_speak_for_the_claimant():
    """A spent budget leaves the owner's triggers answered and most redrawn keys not: that is no proof of a mark."""
    for who in ("stolen", "innocent"):
        line = tried()[f"{who}, budget"].lines["mark"]
        assert line.redrawn.queries < 2 * len(line.hit)
        assert line.p_value == 1


def test_a_detected_batch_no_longer_silences_the_mark():
    assert "mark" in tried()["stolen, detects_trigger_batches"].speaking


def test_a_suspect_who_recognises_single_marked_pictures_is_seen():
    everybody = world()

    def answer(x):
        shown = probabilities(everybody.marked.model, x)
        marked = (x == 1).float().flatten(1).mean(1) > 0.05
        shown[marked] = torch.rand(int(marked.sum()), 4, generator=torch.Generator().manual_seed(1)).softmax(
            1
        )
        return shown

    accused = Accused("one", answer, everybody.claim, RELEASED)
    case = try_suspects(
        PLAN, [accused], everybody.nulls, everybody.owner, notary=NOTARY.public, judge=JUDGE, docket=Docket()
    )["one"]
    assert any("may recognise marked records" in said for said in case.findings)


def test_weights_that_cannot_be_read_stop_no_trial():
    everybody = world()

    class Sealed(torch.nn.Module):
        def state_dict(self, *_, **__):
            raise PermissionError("sealed")

        def forward(self, x):
            return everybody.innocents[0](x)

    sealed = Sealed()
    sealed.weight = torch.nn.Parameter(torch.zeros(1))
    accused = Accused("one", sealed, everybody.claim, RELEASED)
    verdicts = try_suspects(
        PLAN, [accused], everybody.nulls, everybody.owner, notary=NOTARY.public, judge=JUDGE, docket=Docket()
    )
    assert "without a digest" in verdicts.plan.bound.suspects[0]
    assert verdicts["one"].outcome == "not shown"


def test_findings_stand_in_the_table_and_in_the_numbers():
    row = tried().table().loc["stolen, refuses"]
    assert "ask my lawyer" in row["findings"]
    found = {case["suspect"]: case for case in tried().numbers()["cases"]}
    assert found["stolen, refuses"]["outcome"] == "no verdict"
    assert np.isfinite(found["stolen, rounds"]["lines"]["inference"]["p_value"])
