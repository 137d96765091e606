"""What the submission itself says about leakage: averages, weak attackers, missing intervals."""

from __future__ import annotations

from labkit.governance.checks.base import GDPR_SECURITY, Absent, Check, Found
from labkit.governance.claims import AVERAGES
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.governance.checks.submitted.judge"


def absent(project: Project) -> Absent | None:
    """Say when it says nothing: the review's own attacks then stand alone."""
    return None if project.evidence else Absent("the submission brings no evidence on leakage", applies=False)


def judge(project: Project, measured: object) -> Found:
    """Judge how leakage was measured, not what came out: the review measures that anew."""
    brought = list(project.evidence)
    listed = "; ".join(map(str, brought))
    findings = []
    if all(one.metric in AVERAGES for one in brought):
        findings.append(
            Finding(
                title="Leakage was measured by an average alone",
                severity="medium",
                evidence=f"Submitted: {listed}. Accuracy and AUC average over everybody; harm falls on the few who are "
                "found with certainty, and a model that gives away one record in a hundred looks like a coin.",
                found_by=FUNCTION,
                condition="Report true positives at 1% and 0.1% false positives, with intervals.",
                refs=(GDPR_SECURITY,),
            )
        )
    if not any(one.shadow_models for one in brought):
        findings.append(
            Finding(
                title="Only weak attackers were tried",
                severity="medium",
                evidence=f"Submitted: {listed}. None trained shadow models: a threshold is a sanity check.",
                found_by=FUNCTION,
                condition="Attack with LiRA or RMIA, shadow models trained as the model was.",
                refs=(GDPR_SECURITY,),
            )
        )
    protected = project.claim is not None or bool(project.defences)
    if protected and not any(one.knows_defence for one in brought):
        findings.append(
            Finding(
                title="No adaptive attacker in the submitted evidence",
                severity="medium",
                evidence=f"The model is protected, and no attacker of the submission knew how ({listed}).",
                found_by=FUNCTION,
                condition="Attack with shadow models that were trained under the same protection.",
                refs=(GDPR_SECURITY,),
            )
        )
    if bare := [one.attack for one in brought if one.interval is None]:
        findings.append(
            Finding(
                title="Figures without intervals in the submission",
                severity="low",
                evidence=f"{', '.join(dict.fromkeys(bare))}: nobody can tell them from chance.",
                found_by=FUNCTION,
            )
        )
    said = [Measure(f"submitted, {one.attack}", str(one), "in the submission's word") for one in brought]
    return Found(said, findings, conditions="as submitted")


CHECK = Check(
    name="submitted",
    title="The submission's own evidence on leakage",
    question="Was leakage measured where it hurts, by attackers who matter?",
    measure=lambda project, minutes: None,
    judge=judge,
    absent=absent,
    functions=(FUNCTION,),
)
