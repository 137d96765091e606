"""Who trained the model, found out without a single shadow model: the least that an attacker can do."""

from __future__ import annotations

from labkit.governance import banks
from labkit.governance.checks import leakage
from labkit.governance.checks.base import GDPR_ACCOUNTABLE, GDPR_SECURITY, CannotRun, Check, Found
from labkit.governance.findings import Finding, Measure, ReviewError
from labkit.governance.project import Project
from labkit.membership.attacks.registry import attack
from labkit.membership.reports.result import Report
from labkit.stats import p_words

FUNCTION = "labkit.membership.report"
ATTACKS = ("loss", "gap", "attack-p")
CONTROL = "blind"


def measure(project: Project, minutes: float) -> leakage.Attacked:
    """Attack by thresholds, and guess without asking the model (the control)."""
    try:
        bank, members = banks.asking_bank(project)
    except ReviewError as error:
        raise CannotRun(str(error)) from error
    target = bank.query(project.model, members, name=project.title)
    return leakage.measured(
        project, [attack(name, target, bank) for name in (*ATTACKS, CONTROL)], control=CONTROL
    )


def judge(project: Project, attacked: leakage.Attacked) -> Found:
    """Judge the attacks; where the control succeeds, their figures say nothing about the model."""
    attacks = {name: one for name, one in attacked.reports.items() if name != CONTROL}
    found = leakage.judged(project, attacks, attacked.audit, FUNCTION)
    control, best = attacked.reports[CONTROL], max(attacks.values(), key=lambda one: one.auc.estimate)
    shuffled = best.control
    said = [
        *found.measures,
        Measure(
            "control, without the model: AUC",
            str(control.auc),
            "95% interval over records; expected one half",
        ),
        Measure(f"control, truth shuffled: AUC of {best.name}", str(shuffled.auc), "central 95% of shuffles"),
        Measure(
            "records",
            f"{int(best.result.members.sum()):,} members, as many others",
            "drawn by the review's seed",
        ),
    ]
    findings = [*found.findings, *_confounded(control), *_noticeable(best)]
    return Found(said, findings, found.pictures, found.conditions)


def _confounded(control: Report) -> list[Finding]:
    if control.auc.low <= 0.5 or not control.control.p_value <= 0.01:
        return []
    return [
        Finding(
            title="Members and non-members differ without the model: attacks on them show nothing",
            severity="medium",
            evidence=f"A guess from the records alone reaches AUC {control.auc} ({p_words(control.control.p_value)}).",
            found_by="labkit.membership.attack",
            interval=control.auc,
            interval_of="the AUC of a guess that never asks the model, over records",
            condition="Submit test records that were drawn as the train records were.",
            refs=(GDPR_ACCOUNTABLE,),
        )
    ]


def _noticeable(best: Report) -> list[Finding]:
    if not best.control.alarm:
        return []
    return [
        Finding(
            title="A simple attack tells members from others",
            severity="low",
            evidence=f"{best.name}: AUC {best.auc}, better than {1 - best.control.p_value:.1%} of shuffles of the truth.",
            found_by=FUNCTION,
            interval=best.auc,
            interval_of=f"the AUC, over {leakage.OF}",
            refs=(GDPR_SECURITY,),
        )
    ]


CHECK = Check(
    name="membership",
    title="Membership, without shadow models",
    question="Can thresholds tell who trained the model, at few false positives?",
    measure=measure,
    judge=judge,
    kept=True,
    essential=True,
    functions=(FUNCTION, "labkit.membership.attack"),
    answers=("attacks.low_false_positives", "attacks.controls"),
)
