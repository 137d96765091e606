"""The regulation map and the board's papers: every pointer leads somewhere, and nothing promises or hides."""

from __future__ import annotations

from datetime import date

import pytest

from labkit.governance.checklist import load, tick
from labkit.governance.decision import decide
from labkit.governance.findings import Finding, Measure, Outcome, ReviewError
from labkit.governance.regulation import (
    BY_PEOPLE,
    FOLDER,
    PAPERS,
    fields_of,
    fill,
    impact_assessment,
    regulation_map,
)

ASKED = {
    "gdpr": ("Article 5", "Article 17", "Article 25", "Article 32", "Article 35", "Recital 26"),
    "ai_act": ("Article 10", "Article 15"),
}
GRAVE = Finding(
    "ε is an overclaim", "critical", "claimed 1, at least 5 | by the batches", "labkit.dp.check_loader"
)
DONE = Outcome(
    "a",
    "Steps",
    "Do they conform?",
    measures=(Measure("checks", "9"),),
    functions=("labkit.audit.conformance",),
)
FOUND = Outcome("b", "Sampler", "As accounted?", findings=(GRAVE,))
LEFT = Outcome("c", "Attack", "Who is found?", why="the budget was spent", ran=False)


def test_the_map_holds_every_provision_that_was_asked_for():
    found = regulation_map()
    for law, articles in ASKED.items():
        assert set(articles) == {one.article for one in found.requirements if one.law == law}
    assert sum(one.law == "ccpa" for one in found.requirements) >= 3
    assert all(law["source"].startswith("https://") and law["official"] for law in found.laws.values())


def test_every_requirement_leads_to_evidence_and_names_its_limits():
    for one in regulation_map().requirements:
        assert one.checks
        assert one.limits.strip()
        assert all(control.section for control in one.controls)


def test_every_item_of_the_checklist_bears_on_some_provision_or_is_about_evidence():
    known = {item.id for item in load()}
    used = {check for one in regulation_map().requirements for check in one.checks}
    assert used <= known
    # What no law asks for by itself: how good the evidence is.
    assert all(
        name.startswith(("attacks.", "conformance.", "custody.", "sampler.", "statement."))
        for name in known - used
    ), known - used


def test_no_entry_promises_that_anything_complies():
    text = (FOLDER / "regulation.yaml").read_text(encoding="utf-8").lower()
    assert "no legal advice" in text
    for word in ("ensures compliance", "is compliant", "satisfies the", "guarantees", "fulfils the"):
        assert word not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("may support lawfulness", "ensures lawfulness", "may support"),
        ("data.overlap", "data.nowhere", "data.nowhere"),
        ("law: ai_act", "law: moon", "moon"),
    ],
)
def test_a_map_that_promises_or_points_nowhere_is_refused(tmp_path, old, new, message):
    text = (FOLDER / "regulation.yaml").read_text(encoding="utf-8")
    assert old in text
    changed = tmp_path / "regulation.yaml"
    changed.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ReviewError, match=message):
        regulation_map(changed)


def test_the_table_names_who_answers():
    table = regulation_map().table()
    assert "labkit.audit.conformance" in table["answered by"].str.cat(sep=" ")
    assert table["answered by"].str.contains("a person").any()
    with pytest.raises(ReviewError, match=r"no requirement 'gdpr\.99'"):
        regulation_map().find("gdpr.99")


def test_the_state_after_a_review_counts_evidence_and_gives_no_verdict():
    ticked = tick(load(), [], {}, {})
    table = regulation_map().state(ticked)
    assert (table["not shown"] == [len(one.checks) for one in regulation_map().requirements]).all()
    assert table["passed"].sum() == 0
    with pytest.raises(ReviewError, match="tick the whole checklist"):
        regulation_map().state(ticked[:3])


@pytest.mark.parametrize("paper", PAPERS)
def test_a_blank_that_nobody_filled_says_so(paper):
    empty = fill(paper)
    assert "{{" not in empty
    assert empty.count(BY_PEOPLE) >= len(fields_of(paper))
    first = fields_of(paper)[0]
    assert "Northern Hospital" in fill(paper, **{first: "Northern Hospital"})
    assert fill(paper, **{first: "  "}) == empty


def test_a_blank_that_does_not_exist_is_refused():
    with pytest.raises(ReviewError, match="charter has no blank boss"):
        fill("charter", boss="me")
    with pytest.raises(ReviewError, match="no paper 'poem'"):
        fill("poem")


def test_the_assessment_is_filled_from_findings_and_from_what_was_not_run():
    decision = decide([DONE, FOUND, LEFT], made=date(2026, 1, 1))
    draft = impact_assessment([DONE, FOUND, LEFT], decision, system="triage of notes")
    assert "assessment: triage of notes" in draft
    assert "ε is an overclaim | critical | claimed 1, at least 5 \\| by the batches" in draft
    assert "- Attack: the budget was spent" in draft
    assert "Steps | Do they conform? | labkit.audit.conformance" in draft
    assert "REJECT" in draft
    assert "findings of high or critical severity stand: ε is an overclaim" in draft
    assert draft.count(BY_PEOPLE) > 8  # purpose, legal basis and the like stay open


def test_without_findings_the_assessment_does_not_say_that_there_is_no_risk():
    decision = decide([DONE], made=date(2026, 1, 1))
    draft = impact_assessment([DONE], decision)
    assert "no proof that there is no risk" in draft
    assert "Whatever stands on no checklist" in draft
    assert f"**What remains.** **{BY_PEOPLE}.**" in draft


def test_nobody_writes_the_findings_by_hand():
    decision = decide([DONE], made=date(2026, 1, 1))
    with pytest.raises(ReviewError, match="filled from the review"):
        impact_assessment([DONE], decision, risks="none")
