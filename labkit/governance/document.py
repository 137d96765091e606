"""A report as a list of blocks, from which both pages are made: what was decided, claimed, found, measured, and not run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from labkit.governance.decision import RULES
from labkit.governance.findings import MEANING, SEVERITIES, Finding, Outcome, Picture
from labkit.governance.reviewing import Review

LONG = 110  # characters of a value that would make a column of one word a line
ADVICE = (
    "References to provisions are pointers for whoever knows the law: they are no legal advice. A review finds what its "
    "checks look for; what is not listed was not tried."
)


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 or 3; ``anchor`` names it."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph, under a label if there is one."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Items:
    """A list, numbered or not."""

    items: Sequence[str]
    numbered: bool = False


@dataclass(frozen=True)
class Table:
    """A table; ``kind`` chooses the widths of its columns in the page."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: str = ""


@dataclass(frozen=True)
class Card:
    """A finding: severity, title, and labelled paragraphs."""

    severity: str
    title: str
    facts: Sequence[tuple[str, str]]


Block = Heading | Text | Items | Table | Card | Picture


def blocks(review: Review, reviewer: str, public: str) -> list[Block]:
    """Return the report below its head, in reading order."""
    return [
        *_decision(review),
        *_glance(review.outcomes),
        *_conditions(review),
        *_claims(review),
        *_findings(review.findings),
        *_measured(review.outcomes),
        *_not_run(review.outcomes),
        *_checklist(review),
        *_custody(review, reviewer, public),
    ]


def _decision(review: Review) -> Iterable[Block]:
    decision = review.decision
    yield Heading("Decision")
    yield Text(f"{_first(decision.verdict)}, by {decision.why}.")
    if decision.verdict == "reject":
        yield Items(decision.reasons)
    weights = [(name, sum(one.severity == name for one in review.findings)) for name in SEVERITIES]
    said = ", ".join(f"{count} {name}" for name, count in weights if count) or "none"
    checks = ", ".join(
        f"{review.count(name)} {name}" for name in ("passed", "findings", "not run", "does not apply")
    )
    yield Text(f"Findings: {said}. Checks: {checks}.")


def _conditions(review: Review) -> Iterable[Block]:
    conditions = review.decision.conditions
    if conditions:
        before = "it is submitted again" if review.decision.verdict == "reject" else "release"
        yield Heading("Conditions")
        yield Text(f"To be met before {before}, and shown by a new review:")
        yield Items(conditions, numbered=True)


def _glance(outcomes: Sequence[Outcome]) -> Iterable[Block]:
    yield Heading("All checks")
    rows = [
        (
            one.title,
            one.status,
            f"{one.findings[0].severity}: {one.findings[0].title}" if one.findings else one.why,
        )
        for one in outcomes
    ]
    yield Table(("check", "came of it", "the worst, or why not"), rows, "reasons")


def _claims(review: Review) -> Iterable[Block]:
    yield Heading("What was claimed")
    yield Table(("about", "claim"), list(review.claimed.items()), "facts")


def _findings(findings: Sequence[Finding]) -> Iterable[Block]:
    yield Heading("Findings, by severity")
    if not findings:
        yield Text("None. That says nothing about what was not looked at.")
    for severity, found in groupby(findings, key=lambda one: one.severity):
        yield Text(f"{MEANING[severity]}.", severity.capitalize())
        for one in found:
            facts = [("Evidence", one.evidence)]
            facts += [("Figure", f"{one.value}: {one.interval_of}")] if one.interval else []
            facts += [("Condition", one.condition)] if one.condition and severity != "critical" else []
            asked = f"; asked for by {', '.join(one.refs)}" if one.refs else ""
            yield Card(severity, one.title, [*facts, ("Found by", one.found_by + asked)])


def _measured(outcomes: Sequence[Outcome]) -> Iterable[Block]:
    yield Heading("What was measured")
    for one in outcomes:
        if one.status in ("passed", "findings"):
            yield Heading(f"{one.title}: {one.status}", 3)
            yield Text(one.question)
            yield Table(
                ("figure", "value", "interval over, or how"),
                [(m.what, m.value, m.of) for m in one.measures],
                "measures",
            )
            yield from one.pictures
            yield Text(
                "; ".join(filter(None, (one.conditions_of_run, f"by {', '.join(one.functions)}"))),
                "Data and run",
            )


def _not_run(outcomes: Sequence[Outcome]) -> Iterable[Block]:
    yield Heading("What was not run, and why")
    rows = [
        (one.title, one.status, one.why) for one in outcomes if one.status in ("not run", "does not apply")
    ]
    if rows:
        yield Table(("check", "status", "why"), sorted(rows, key=lambda row: row[1] != "not run"), "reasons")
    else:
        yield Text("Every check ran.")


def _checklist(review: Review) -> Iterable[Block]:
    yield Heading("Checklist")
    for area, ticked in groupby(review.checklist, key=lambda one: one.item.area):
        yield Heading(_first(area), 3)
        rows = [(one.state, one.item.question, one.said) for one in ticked]
        yield Table(("state", "question", "by"), rows, "checklist")


def _custody(review: Review, reviewer: str, public: str) -> Iterable[Block]:
    yield Heading("Signature and rules")
    yield Text(
        f"The decision holds for model, data and statement with the digests above, and for nothing else. {reviewer} signed this page (Ed25519, public "
        f"key {public}). To check it: labkit review --verify FILE --public KEY, with a key that comes from elsewhere than "
        "this page.",
        "Signature",
    )
    yield Text(
        "Tried in this order: "
        + "; ".join(f"({n}) {_verdict(n)} if {text}" for n, text in RULES.items())
        + ".",
        "Rules",
    )
    yield Text("; ".join(f"{name}: {MEANING[name]}" for name in SEVERITIES) + ".", "Severities")
    yield Text(ADVICE)


def _first(text: str) -> str:
    """Return text with its first letter a capital, and all others as they are."""
    return text[:1].upper() + text[1:]


def _verdict(rule: int) -> str:
    return {1: "reject", 2: "reject", 3: "approve with conditions", 4: "approve"}[rule]
