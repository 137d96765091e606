"""Custody of the mark: is the record of evidence complete, closed and signed by those it names?"""

from __future__ import annotations

from labkit.evidence import Evidence
from labkit.federated.marks.mark_report import MarkReport
from labkit.governance.checks.base import GDPR_ACCOUNTABLE, Absent, Check, Found
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project
from labkit.watermark.verification.verdict import Verdict

FUNCTION = "labkit.evidence.Evidence.problems"


def absent(project: Project) -> Absent | None:
    """Say when there is no mark whose custody matters, or no record of it."""
    if project.record is not None:
        return None
    marked = project.mark or project.find(Verdict) or project.find(MarkReport)
    if not marked:
        return Absent("no mark is claimed: there is no evidence to keep", applies=False)
    return Absent("a mark is claimed, and no record of evidence is given (custody: record, roster)")


def measure(project: Project, minutes: float) -> list[str]:
    """Return what is wrong with the record."""
    found, roster = project.record["evidence"], project.record["roster"]
    if not isinstance(found, Evidence):
        return [f"the record cannot be read: {found}"]
    return found.problems(roster)


def judge(project: Project, problems: list[str]) -> Found:
    """A record with problems proves nothing."""
    found = project.record["evidence"]
    size = f"{len(found.entries)} entries" if isinstance(found, Evidence) else "unreadable"
    said = [Measure("record of evidence", size, "signatures and order checked against the roster")]
    if not problems:
        return Found(said)
    finding = Finding(
        title="The record of evidence does not hold",
        severity="high",
        evidence="; ".join(problems[:5]),
        found_by=FUNCTION,
        condition="Submit a record that is closed and verifies against public keys that the board knows from elsewhere.",
        refs=(GDPR_ACCOUNTABLE,),
    )
    return Found(said, [finding])


CHECK = Check(
    name="record",
    title="Custody of evidence",
    question="Is the record of evidence complete, closed, and signed by those it names?",
    measure=measure,
    judge=judge,
    absent=absent,
    functions=(FUNCTION,),
    answers=("custody.record",),
)
