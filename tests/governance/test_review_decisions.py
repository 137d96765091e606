"""Each decision rule, by what leads to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import projects
import pytest
import torch
from torch import nn

from labkit.adapt import as_module
from labkit.audit.conforming.check import Check as Statistic
from labkit.audit.conforming.result import ConformanceResult
from labkit.audit.guessing import Tally
from labkit.audit.result import conclude
from labkit.federated.threats.findings import Finding as Threat
from labkit.federated.threats.findings import Findings, not_shown
from labkit.governance import (
    Claim,
    Mark,
    Outcome,
    ReviewError,
    Submitted,
    as_answering,
    checklist,
    decide,
    review,
)
from labkit.governance.checks import (
    accounting,
    conformance,
    leakage,
    mark,
    one_run,
    statement,
    submitted,
    threats,
)
from labkit.governance.checks.base import CannotRun
from labkit.governance.checks.registry import ANSWERED
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import model_digest
from labkit.membership.attacks.registry import AttackResult
from labkit.stats import Interval
from labkit.watermark.verification.redrawn_keys import RedrawnKeys
from labkit.watermark.verification.verdict import Verdict
from labkit.watermark.verification.verify import judge as verdict_of

TODAY = date(2026, 11, 26)


def outcome(
    severity: str | None = None, *, ran: bool = True, applies: bool = True, essential: bool = False
) -> Outcome:
    found = () if severity is None else (Finding("F", severity, "seen 1", "f", condition="do it"),)
    why = "" if ran and applies else "no reason"
    return Outcome(
        "n", "N", "?", (Measure("m", "1"),), found, why=why, ran=ran, applies=applies, essential=essential
    )


@pytest.mark.parametrize(
    ("outcomes", "verdict", "rule"),
    [
        ([outcome()], "approve", 4),
        ([outcome("low"), outcome("note"), outcome(applies=False)], "approve", 4),
        ([outcome("medium")], "approve with conditions", 3),
        ([outcome("high")], "approve with conditions", 3),
        ([outcome(), outcome(ran=False)], "approve with conditions", 3),
        ([outcome("low"), outcome(ran=False, essential=True)], "reject", 2),
        ([outcome("critical")], "reject", 1),
        ([outcome("critical"), outcome(ran=False, essential=True)], "reject", 1),
    ],
)
def test_the_first_rule_that_fits_decides(outcomes, verdict, rule):
    found = decide(outcomes, made=TODAY)
    assert (found.verdict, found.rule) == (verdict, rule)
    assert bool(found.expires) == (verdict != "reject")
    assert bool(found.conditions) == (verdict != "approve")


def test_nothing_looked_at_is_no_approval():
    for nothing in ([], [outcome(ran=False)], [outcome(applies=False)]):
        with pytest.raises(ReviewError, match="no check ran"):
            decide(nothing, made=TODAY)


def test_an_outcome_without_figure_finding_or_reason_is_refused():
    with pytest.raises(ReviewError, match="say why"):
        Outcome("n", "N", "?", ran=False)
    with pytest.raises(ReviewError, match="measured nothing"):
        Outcome("n", "N", "?")


def test_a_project_may_ask_for_less_time_never_for_more():
    assert decide([outcome()], made=TODAY, days=30).expires == "2026-12-26"
    assert decide([outcome()], made=TODAY, days=9999).expires == "2027-11-26"


def quick(project, *checks):
    """Review with a few checks that cost nothing; all others are conditions."""
    return review(replace(project, checks=checks), today=TODAY)


def test_a_check_that_is_left_out_is_never_silent():
    found = quick(projects.sound(), "digests", "statement", "accounting")
    assert found.decision.verdict == "reject"  # membership is essential
    assert found["membership"].status == "not run"
    assert "leaves it out" in found["utility"].why


def test_a_spent_budget_is_said():
    found = review(
        replace(projects.sound(), checks=("digests", "accounting", "membership"), budget_minutes=1e-9)
    )
    assert "budget is spent" in found["membership"].why
    assert found.decision.rule == 2


def test_a_check_that_stops_is_said(monkeypatch):
    monkeypatch.setattr("labkit.training.logits", lambda *given: 1 / 0)
    found = quick(projects.sound(), "digests", "utility")
    assert "ZeroDivisionError" in found["utility"].why


def test_unknown_checks_and_items_are_refused_before_anything_runs():
    with pytest.raises(ReviewError, match="did you mean 'membership'"):
        review(replace(projects.sound(), checks=["memberships"]))
    with pytest.raises(ReviewError, match=r"did you mean 'data\.source'"):
        review(replace(projects.sound(), answers={"data.sources": "yes, seen"}))
    with pytest.raises(ReviewError, match="answered by"):
        review(replace(projects.sound(), answers={"data.digest": "yes, seen"}))


# Claims ---------------------------------------------------------------------------------------------------------------


def judged(claim: Claim, **changes):
    project = replace(projects.sound(), claim=claim, **changes)
    assert accounting.CHECK.absent(project) is None
    return accounting.judge(project, accounting.measure(project, 1)).findings


def test_an_epsilon_that_its_facts_give_stands():
    assert not judged(projects.claim())
    assert not judged(projects.claim(epsilon=2.01))


def test_an_epsilon_below_what_its_facts_give_is_critical():
    (found,) = judged(projects.claim(epsilon=1.5))
    assert found.severity == "critical"
    assert "2 (PLD)" in found.evidence


def test_fixed_batches_under_poisson_accounting_are_critical_and_priced():
    (found,) = judged(projects.claim(batches="fixed"))
    assert found.severity == "critical"
    assert found.title == "Fixed batches under poisson accounting"
    assert "costs ε =" in found.evidence


def test_shuffled_batches_have_no_figure_at_all():
    (found,) = judged(projects.claim(batches="shuffle"))
    assert "no tight privacy bound" in found.evidence


def test_a_delta_of_one_over_n_is_critical():
    titles = [one.title for one in judged(projects.claim(delta=0.05))]
    assert "δ is not below 1 / number of records" in titles


def test_an_epsilon_above_its_facts_is_a_condition_not_a_contradiction():
    (found,) = judged(projects.claim(epsilon=4.0))
    assert found.severity == "medium"


def test_a_bare_epsilon_is_rejected():
    found = quick(
        replace(projects.sound(), claim=Claim(epsilon=1.0, delta=1e-5)), "digests", "statement", "accounting"
    )
    assert found["accounting"].status == "not run"
    assert found["statement"].findings[0].severity == "high"
    assert found.decision.verdict == "reject"


def test_overclaiming_is_rejected_by_the_whole_review():
    fixed = replace(projects.sound(), claim=projects.claim(batches="fixed"))
    found = quick(fixed, "digests", "statement", "accounting")
    assert (found.decision.verdict, found.decision.rule) == ("reject", 1)
    assert not found.decision.expires


def test_a_statement_about_other_records_is_a_condition():
    project = replace(projects.sound(), claim=projects.claim(records=1000))
    assert statement.judge(project, ()).findings[0].severity == "high"


# Leakage --------------------------------------------------------------------------------------------------------------


def attacked(shift: float, n: int = 1500, **changes):
    """Return what is said about an attack whose members score higher by ``shift`` standard deviations."""
    rng = np.random.default_rng(0)
    members = np.arange(2 * n) < n
    scores = rng.normal(size=2 * n) + shift * members
    nobody = np.zeros(2 * n, dtype=int)
    result = AttackResult(
        "loss", scores, members, nobody, np.arange(2 * n), "", "m", "made", "smoke", 0, ("a", "b")
    )
    project = projects.sound(**{"claim": None, "promises": {}, **changes})
    found = leakage.measured(project, [result])
    return leakage.judged(project, found.reports, found.audit, "f").findings


def test_no_leak_no_finding():
    assert not attacked(0.0)


def test_a_leak_is_high_where_nothing_was_promised_and_critical_where_it_was():
    assert {one.severity for one in attacked(2.0)} == {"high"}
    assert {one.severity for one in attacked(2.0, promises={"auc": 0.6, "tpr_at_1_percent_fpr": 0.05})} == {
        "critical"
    }
    assert all(one.interval for one in attacked(2.0))


def test_a_claim_that_an_attack_contradicts_is_critical():
    found = attacked(2.0, claim=Claim(epsilon=0.5, delta=1e-5))
    assert "The claimed privacy is contradicted by an attack" in [one.title for one in found]


def test_an_honest_claim_is_not_contradicted():
    assert not [
        one for one in attacked(0.05, claim=Claim(epsilon=2.0, delta=1e-5)) if one.severity == "critical"
    ]


def test_too_few_records_are_a_condition_unless_a_claim_bounds_the_leak():
    assert [one.severity for one in attacked(0.0, n=100)] == ["medium"]
    (found,) = attacked(0.0, n=100, claim=Claim(epsilon=1.0, delta=1e-5))
    assert found.severity == "low"
    assert "at most 2.7%" in found.evidence  # e^1 * 1%


def test_accuracy_alone_by_weak_attackers_is_found():
    brought = [Submitted(attack="loss", metric="accuracy", value=0.52)]
    titles = {
        one.title: one.severity for one in submitted.judge(projects.sound(evidence=brought), None).findings
    }
    assert titles == {
        "Leakage was measured by an average alone": "medium",
        "Only weak attackers were tried": "medium",
        "No adaptive attacker in the submitted evidence": "medium",
        "Figures without intervals in the submission": "low",
    }


def test_strong_evidence_is_not_held_against_the_submission():
    assert not submitted.judge(projects.sound(), None).findings


# Code, marks, threats -------------------------------------------------------------------------------------------------


def test_code_that_deviates_is_critical():
    bad = Statistic("noise", 1e-9, "noise at 0.5 of the claim", "less noise")
    found = ConformanceResult((bad,), 0.01, (), {"noise": 0.01}, 5, 50, (0.1, 1.0), 0)
    assert conformance.judge(projects.sound(), found).findings[0].severity == "critical"


@pytest.mark.parametrize(
    ("hits", "nulls", "severities"), [(90, 20, []), (5, 20, ["critical"]), (90, 5, ["medium"])]
)
def test_a_mark_is_there_or_not_or_nobody_can_say(hits, nulls, severities):
    found = verdict(hits, nulls, redrawn=keys(hits / 100))
    assert [one.severity for one in mark.judge(projects.sound(), found).findings] == severities


def verdict(hits: int, nulls: int = 20, null_hits: int = 3, **settings) -> Verdict:
    null_hit = np.zeros((nulls, 100), dtype=bool)
    null_hit[:, :null_hits] = True
    return verdict_of(np.arange(100) < hits, null_hit, minimum=2, **settings)


def keys(own: float) -> RedrawnKeys:
    return RedrawnKeys(np.full(100, own), np.full((999, 100), 0.03), "hits", 999)


def test_triggers_that_may_have_been_picked_show_no_mark():
    (found,) = mark.judge(projects.sound(), verdict(100)).findings
    assert (found.severity, "picked to fit" in found.title) == ("medium", True)


def test_a_submission_does_not_set_the_level_at_which_innocents_are_accused():
    """14 hits, where each null model has 8: p = 0.04 or so, which alpha = 0.5 would call proof."""
    found = verdict(14, null_hits=8, alpha=0.5)
    assert found.decided
    assert [one.severity for one in mark.judge(projects.sound(), found).findings] == ["critical"]


def test_a_null_model_that_is_passed_twenty_times_is_one_witness():
    base = projects.sound()
    asked = Mark(
        x=base.dataset.test_x[:50], y=1 - base.dataset.test_y[:50], nulls=[projects.regression()] * 20
    )
    outcome = review(projects.sound(mark=asked, checks=["mark"]))["mark"]
    assert (outcome.status, outcome.why[:22]) == ("not run", "1 distinct null models")


def test_an_audit_of_another_claim_is_no_audit_of_this_one():
    tally = Tally("loss", 55, 100, 1000, 50)
    for claimed in (None, 50.0, 0.1):
        other = conclude([tally], method="m", claimed=claimed, delta=projects.DELTA)
        with pytest.raises(CannotRun, match="audit the claim that is made"):
            one_run.judge(projects.sound(), other)
    with pytest.raises(CannotRun, match="audit the claim that is made"):
        one_run.judge(projects.sound(), conclude([tally], method="m", claimed=projects.EPSILON, delta=1e-2))
    own = conclude(
        [tally], method="m", claimed=projects.EPSILON, delta=projects.DELTA, source="their records"
    )
    assert one_run.judge(projects.sound(), own).conditions.startswith("their records")
    with pytest.raises(CannotRun, match="the submission claims nothing"):
        one_run.judge(projects.sound(claim=None), own)


def test_a_part_that_is_called_model_is_not_taken_for_the_model():
    """Trained by heart, a network betrays its canaries, however it names its parts."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.head = nn.Linear(6, 64), nn.Linear(64, 2)

        def forward(self, x):
            return self.head(self.model(x).relu())

    def by_heart(dataset):
        torch.manual_seed(0)
        model = Net()
        steps = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(300):
            steps.zero_grad()
            nn.functional.cross_entropy(model(dataset.train_x), dataset.train_y).backward()
            steps.step()
        return model

    assert one_run.measure(projects.sound(trainer=by_heart), 1.0).refuted


def test_settings_that_are_printed_nowhere_tell_models_apart():
    def scaled(by: float) -> nn.Module:
        model = projects.regression()
        model.by = by
        return model

    part = [as_answering(Two(), projects.table().train_x, 2, part=name) for name in ("a", "b")]
    lower = [as_module(Two(), output=name) for name in ("a", "b")]
    for one, other in ((scaled(1.0), scaled(9.0)), part, lower):
        assert repr(one) == repr(other)
        assert model_digest(one) != model_digest(other)
    assert model_digest(scaled(1.0)) == model_digest(scaled(1.0))


class Two(nn.Module):
    """Answers with a dict of two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = projects.regression(), projects.regression()

    def forward(self, x):
        return {"a": self.a(x), "b": self.b(x)}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(6, 2), nn.Softmax(1)), "answers: probabilities"),
        (Two(), "say which part"),
        (nn.Linear(5, 2), "cannot be asked"),
    ],
)
def test_a_model_that_attacks_would_misread_is_refused_before_anything_runs(model, said):
    with pytest.raises(ReviewError, match=said):
        projects.sound(model=model)


def test_threats_weigh_by_what_is_not_excluded_and_a_broken_promise_is_critical():
    about = {
        "adversary": "a",
        "knowledge": "k",
        "number": "n",
        "interval_of": "o",
        "differs": "d",
        "control": "c",
    }
    opened = Threat(
        title="T",
        severity="high",
        evidence="1 of 2",
        interval=Interval(0.2, 0.1, 0.3),
        status="open",
        **about,
    )
    broken = replace(opened, title=threats.BROKEN, severity="critical")
    unknown = not_shown("U", adversary="a", knowledge="k", control="c", why="no time.")
    answered = replace(opened, title="A", status="answered")
    found = Findings((opened, broken, unknown, answered), "a system", "made", "smoke", (0,))
    project = projects.sound(measured=(found,))
    said = {one.title.split(":")[0]: one.severity for one in threats.judge(project, found).findings}
    assert said == {"T": "high", threats.BROKEN: "critical", "U": "medium"}


# The checklist --------------------------------------------------------------------------------------------------------


def test_every_automatic_item_is_answered_by_one_check_and_no_other_is():
    items = checklist.load()
    assert set(ANSWERED) == {item.id for item in items if item.automatic}


def test_what_nobody_answered_is_a_condition_by_area_and_a_no_weighs_as_it_says():
    items = checklist.load()
    by_hand = [item for item in items if not item.automatic]
    given = {**projects.answers(), by_hand[0].id: {"holds": False, "said": "we never looked", "by": "Bo"}}
    del given[by_hand[1].id]
    answers = checklist.read_answers(given, items, by="Ana")
    found = checklist.findings_of(checklist.tick(items, [], answers, ANSWERED))
    assert found[0].severity == by_hand[0].severity_if_failed
    assert found[0].evidence == "we never looked (Bo)"
    assert by_hand[1].id in found[1].condition
    assert len(found) == 2


def test_nobody_is_asked_about_what_is_not_claimed():
    items = checklist.load()
    none = Outcome("statement", "S", "?", why="no differential privacy is claimed", applies=False)
    ticked = checklist.tick(items, [none], {}, ANSWERED)
    states = {one.item.id: one.state for one in ticked if not one.item.automatic}
    assert states["pitfalls.randomness"] == states["statement.unit"] == "does not apply"
    assert states["custody.keys"] == states["data.source"] == "not shown"


@pytest.mark.parametrize("answer", ["", {"holds": "yes", "said": "fine"}, {"said": "fine"}, {"holds": True}])
def test_an_answer_that_says_nothing_is_refused(answer):
    with pytest.raises(ReviewError, match=r"data\.source"):
        checklist.read_answers({"data.source": answer}, checklist.load(), by="Ana")
