"""Does the loader draw its batches as the accountant was told?"""

from __future__ import annotations

from labkit.governance.checks.base import GDPR_BY_DESIGN, Absent, Check, Found
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.dp.check_loader"


def absent(project: Project) -> Absent | None:
    """Say when there is no loader to look at."""
    if project.claim is None:
        return Absent("no differential privacy is claimed", applies=False)
    if project.claim.sample_rate == 1:
        return Absent("every record is in every step: there is nothing to draw", applies=False)
    if project.loader is None and project.train_step is not None:
        return Absent(
            "no DataLoader: the training function draws its batches, and the conformance audit watches them",
            applies=False,
        )
    if project.loader is None:
        return Absent(
            "no loader is given (training: loader), and no training function that draws batches itself"
        )
    if None in (project.claim.sampler, project.claim.sample_rate, project.claim.noise_multiplier):
        return Absent("the claim does not state sampler, sample_rate and noise_multiplier")
    return None


def measure(project: Project, minutes: float) -> str:
    """Return what is wrong with the loader; empty if nothing."""
    from labkit.dp.accounting.loader_check import check_loader

    try:
        check_loader(project.loader, project.claim.events(project.claim.sampler)[0])
    except ValueError as error:
        return str(error)
    return ""


def judge(project: Project, wrong: str) -> Found:
    """A loader that draws otherwise contradicts the claim."""
    said = [
        Measure(
            "one pass of indices",
            "otherwise than accounted" if wrong else "as accounted",
            "drawn, not guessed",
        )
    ]
    if not wrong:
        return Found(said)
    title = "The loader draws otherwise than the accountant was told"
    return Found(said, [Finding(title, "critical", wrong, FUNCTION, refs=(GDPR_BY_DESIGN,))])


CHECK = Check(
    name="sampler",
    title="Sampler against accountant",
    question="Does the loader draw its batches as the accountant was told, at the very rate?",
    measure=measure,
    judge=judge,
    absent=absent,
    functions=(FUNCTION,),
    answers=("sampler.loader",),
)
