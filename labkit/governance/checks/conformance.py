"""Does the training code do at each step what the proof assumes?"""

from __future__ import annotations

from typing import Any

from labkit.audit.conforming.audit import conformance
from labkit.audit.conforming.result import ConformanceResult
from labkit.governance.checks.base import GDPR_BY_DESIGN, Absent, Check, Found, conditions, picture
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project
from labkit.stats import p_text, p_words

FUNCTION = "labkit.audit.conformance"


def absent(project: Project) -> Absent | None:
    """Say when there is no code to look at."""
    if project.find(ConformanceResult) is not None:
        return None
    if project.claim is None:
        return Absent("no differential privacy is claimed", applies=False)
    if project.train_step is None:
        return Absent("no training function is given (training: conformance), so its steps cannot be watched")
    return None


def settings(project: Project) -> dict[str, Any]:
    """Return the code that is audited, and the noise at which it is used."""
    return {"train": project.train_step, "noise": project.claim.noise_multiplier if project.claim else None}


def measure(project: Project, minutes: float) -> ConformanceResult:
    """Run the training function on probes, at its own noise and almost without."""
    noise = project.claim.noise_multiplier or 1.0
    return conformance(project.train_step, noise_multiplier=noise, seed=project.seed)


def judge(project: Project, found: ConformanceResult) -> Found:
    """A deviation contradicts whatever ε was computed from the settings."""
    said = [
        Measure(
            "steps as the settings say",
            "no: it deviates" if found.deviates else "no deviation found",
            f"{len(found.checks)} checks in {found.runs} runs; false alarms in at most {found.level:.0%} of audits",
        ),
        Measure("p-value of conforming", p_text(found.p_value), f"corrected for {len(found.checks)} checks"),
        Measure("power", found.power, "4 times in 5"),
        Measure(
            "noise multipliers of the runs", " and ".join(f"{one:.4g}" for one in found.noise_multipliers), ""
        ),
    ]
    findings = []
    if found.deviates:
        seen = "; ".join(f"{check.name}: {check.found}" for check in found.failed[:4])
        findings.append(
            Finding(
                title="The training code deviates from its settings",
                severity="critical",
                evidence=f"{seen} ({p_words(found.p_value)}, corrected). The accountant was told of another mechanism.",
                found_by=FUNCTION,
                refs=(GDPR_BY_DESIGN,),
            )
        )
    if found.not_checked:
        findings.append(
            Finding(
                "What the audit could not see", "low", "; ".join(found.not_checked) + ".", found_by=FUNCTION
            )
        )
    pictures = [picture(found.plot())] if found.deviates else []
    return Found(said, findings, pictures, conditions(project, seed=found.seed))


CHECK = Check(
    name="conformance",
    title="Conformance of the training code",
    question="Does the code clip, sample and add noise at each step as its settings say?",
    measure=measure,
    judge=judge,
    absent=absent,
    settings=settings,
    minutes=lambda project: 0.5,
    kept=True,
    functions=(FUNCTION,),
    answers=("conformance.steps", "sampler.log"),
    kinds=(ConformanceResult,),
)
