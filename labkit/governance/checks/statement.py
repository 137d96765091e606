"""Is the claim of privacy a statement: are all the facts there without which an ε means nothing?"""

from __future__ import annotations

from labkit.governance.checks.base import GDPR_ACCOUNTABLE, GDPR_BY_DESIGN, Absent, Check, Found
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.dp.PrivacyStatement"


def absent(project: Project) -> Absent | None:
    """Say when nothing is claimed."""
    return Absent("no differential privacy is claimed", applies=False) if project.claim is None else None


def measure(project: Project, minutes: float) -> tuple[str, ...]:
    """Return the facts that are not stated."""
    return project.claim.missing


def judge(project: Project, missing: tuple[str, ...]) -> Found:
    """A bare ε is no statement."""
    claim, n = project.claim, int(project.trained_on.sum())
    findings = []
    if missing:
        findings.append(
            Finding(
                title=f"The statement leaves out {', '.join(missing)}",
                severity="high",
                evidence=f"Claimed is: {claim}. Without these facts nobody can compute ε anew, or say whom it protects.",
                found_by=FUNCTION,
                condition=f"State {', '.join(missing)}.",
                refs=(GDPR_ACCOUNTABLE,),
            )
        )
    if claim.records is not None and claim.records != n:
        findings.append(
            Finding(
                title="The statement is about another number of records",
                severity="high",
                evidence=f"It says {claim.records:,}; the model was trained on {n:,} of these.",
                found_by=FUNCTION,
                condition="Make statement and data agree, or submit the data that the statement is about.",
                refs=(GDPR_ACCOUNTABLE,),
            )
        )
    if claim.tuning_runs == 1:
        findings.append(
            Finding(
                title="One training run is claimed: settings chosen on these records would cost more",
                severity="note",
                evidence="The statement counts the released run alone.",
                found_by="labkit.dp.TuningCost",
                refs=(GDPR_BY_DESIGN,),
            )
        )
    said = [Measure("facts stated", f"{10 - len(missing)} of 10", "δ, accountant, sampler, batches, noise, q, steps, "
                    "neighbours, unit, runs")]  # fmt: skip
    return Found(said, findings, conditions="the facts of the claim")


CHECK = Check(
    name="statement",
    title="Completeness of the statement",
    question="Does the claim name all the facts that its ε is computed from?",
    measure=measure,
    judge=judge,
    absent=absent,
    functions=(FUNCTION,),
    answers=("statement.complete",),
)
