"""Are these the model, the data and the statement that were submitted?"""

from __future__ import annotations

from typing import Any

from labkit.governance.checks.base import AI_ACT_DATA, GDPR_ACCOUNTABLE, Check, Found, conditions
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.cache.digest"


def measure(project: Project, minutes: float) -> dict[str, Any]:
    """Return digests of content, and of files as they are."""
    return {"content": project.digests, "files": dict(project.files)}


def judge(project: Project, found: dict[str, Any]) -> Found:
    """Hold what was found against what the submission states; name a stand-in."""
    content, files = found["content"], found["files"]
    said = [Measure(f"SHA-256 of the {what}, by content", value, "exact") for what, value in content.items()]
    said += [Measure(f"SHA-256 of the file {name}", value, "exact") for name, value in files.items()]
    findings = [
        Finding(
            title=f"The {what} is not the one that was stated",
            severity="critical",
            evidence=f"Stated is SHA-256 {stated[:16]}…, found is {content[what][:16]}… (content).",
            found_by=FUNCTION,
            refs=(GDPR_ACCOUNTABLE,),
        )
        for what, stated in project.expected.items()
        if stated.lower() not in {content[what], *files.values()}
    ]
    if not project.dataset.real:
        findings.append(
            Finding(
                title="The data is a stand-in",
                severity="high",
                evidence=f"The records are {project.dataset.source}: what was measured holds for them, and is a rehearsal.",
                found_by="labkit.data.Dataset",
                condition="Run the review again on the real records.",
                refs=(AI_ACT_DATA,),
            )
        )
    return Found(said, findings, conditions=conditions(project))


CHECK = Check(
    name="digests",
    title="Model, data and statement",
    question="Are these the model, the data and the statement that were submitted?",
    measure=measure,
    judge=judge,
    essential=True,
    functions=(FUNCTION, "labkit.data.Dataset"),
    answers=("data.digest",),
)
