"""ε from below, in one run of the submission's own training: does the claim survive, and what could have been caught?"""

from __future__ import annotations

import math
from typing import Any

from labkit.audit.audits import audit_one_run
from labkit.audit.result import AuditResult
from labkit.governance.checks.base import GDPR_BY_DESIGN, Absent, CannotRun, Check, Found, conditions, picture
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.audit.audit_one_run"
CANARIES, LEAST = 1000, 50


def absent(project: Project) -> Absent | None:
    """Say when there is no training to run."""
    if project.find(AuditResult) is not None:
        return None
    if project.claim is None:
        return Absent("no differential privacy is claimed", applies=False)
    if project.trainer is None:
        return Absent("no training function is given (training: train), so no canaries can be put in")
    return None


def settings(project: Project) -> dict[str, Any]:
    """Return the training that is audited."""
    return {"train": project.trainer}


def measure(project: Project, minutes: float) -> AuditResult:
    """Put canaries in by coin flips, train once, guess."""
    count = min(CANARIES, len(project.dataset.train_y) // 2)
    if count < LEAST:
        raise CannotRun(
            f"{len(project.dataset.train_y)} train records give {count} canaries; expected at least {LEAST}"
        )
    found = audit_one_run(
        project.trainer,
        project.dataset,
        canary_count=count,
        claimed=project.claim.tested(),
        delta=project.claim.delta or 0.0,
        seed=project.seed,
    )
    assert found.power  # computed here, so that it is kept
    return found


def _of_another_claim(project: Project, found: AuditResult) -> str:
    """Say so if an audit that was handed in tested another claim than the submission makes."""
    claim, tested = project.claim, found.claimed_epsilon
    asked = "no claim" if tested is None else f"ε = {tested:.4g} at δ = {found.delta:g}"
    if claim is None:
        return "" if tested is None else f"the audit tested {asked}, and the submission claims nothing"
    near = tested is not None and math.isclose(tested, claim.epsilon, rel_tol=0.02)
    if near and math.isclose(found.delta, claim.delta or 0.0, rel_tol=1e-6):
        return ""
    made = f"ε = {claim.epsilon:.4g} at δ = {claim.delta or 0:g}"
    return f"the audit that was handed in tested {asked}, the submission claims {made}: audit the claim that is made"


def judge(project: Project, found: AuditResult) -> Found:
    """The claim is refuted, or it is not, which proves nothing: the power line says what would have been caught."""
    if wrong := _of_another_claim(project, found):
        raise CannotRun(wrong)
    said = [
        Measure(
            "ε from below",
            f"{found.epsilon:.2f}",
            f"{found.confidence:.0%} confidence, any mechanism, δ = {found.delta:g}",
        ),
        Measure("the claim", found.verdict, found.method),
    ]
    findings = []
    if found.refuted:
        findings.append(
            Finding(
                title="The claimed ε is refuted by an audit in one run",
                severity="critical",
                evidence=found.verdict,
                found_by=FUNCTION,
                refs=(GDPR_BY_DESIGN,),
            )
        )
    return Found(said, findings, [picture(found.plot())], _conditions(project, found))


def _conditions(project: Project, found: AuditResult) -> str:
    """Return where the audit ran: on the submission's records, unless it names others."""
    same = found.source in ("", project.dataset.source)
    return conditions(project, seed=found.seed) if same else f"{found.source}; seed {found.seed}"


CHECK = Check(
    name="one_run",
    title="ε from below (audit in one run)",
    question="Does the claim survive canaries, and how large a leak would have been caught?",
    measure=measure,
    judge=judge,
    absent=absent,
    settings=settings,
    minutes=lambda project: project.trainer_minutes,
    kept=True,
    functions=(FUNCTION, "labkit.audit.certifiable"),
    answers=("conformance.epsilon_from_below", "conformance.power"),
    kinds=(AuditResult,),
)
