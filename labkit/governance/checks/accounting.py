"""Is the stated ε what accountants compute from the stated facts, and was the accountant told how batches were drawn?"""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit.governance.checks.base import GDPR_ACCOUNTABLE, GDPR_BY_DESIGN, Absent, Check, Found
from labkit.governance.claims import Claim
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.dp.privacy_statement"
SLACK = 0.01  # relative: accountants round, and people round what they print
NEEDED = ("delta", "sampler", "noise_multiplier", "sample_rate", "steps")


@dataclass(frozen=True)
class Recomputed:
    """ε by accountant, as stated and as the batches were drawn; why there is none, where there is none."""

    stated: dict[str, float]
    drawn: dict[str, float] = field(default_factory=dict)
    no_bound: str = ""


def absent(project: Project) -> Absent | None:
    """Say when there is nothing to compute from."""
    claim = project.claim
    if claim is None:
        return Absent("no differential privacy is claimed", applies=False)
    lacking = [name for name in NEEDED if getattr(claim, name) is None]
    if claim.statement is None and lacking:
        return Absent(f"the claim does not state {', '.join(lacking)}: ε cannot be computed anew")
    return None


def measure(project: Project, minutes: float) -> Recomputed:
    """Account for the stated facts; where batches were drawn otherwise, for those as well."""
    claim = project.claim
    try:
        stated = claim.recompute().epsilons
    except ValueError as error:  # a sampler without a bound, numbers out of range
        return Recomputed({}, no_bound=str(error))
    if not _differs(claim):
        return Recomputed(stated)
    try:
        return Recomputed(stated, claim.recompute(claim.batches).epsilons)
    except ValueError as error:
        return Recomputed(stated, no_bound=str(error))


def _differs(claim: Claim) -> bool:
    """Whether batches were drawn otherwise than the accountant was told; a rate of 1 leaves nothing to draw."""
    whole = claim.sample_rate == 1 and {claim.batches, claim.sampler} <= {"poisson", "full"}
    return None not in (claim.batches, claim.sampler) and claim.batches != claim.sampler and not whole


def judge(project: Project, found: Recomputed) -> Found:
    """Reject an ε below what was computed, a sampler that its accountant does not know, and a δ that hides a record."""
    claim = project.claim
    findings = [*_epsilon(claim, found), *_sampler(claim, found), *_delta(project)]
    said = [
        Measure(f"ε by {name}, from the stated facts", f"{value:.3g}", "exact")
        for name, value in found.stated.items()
    ]
    said += [
        Measure(f"ε by {name}, with {claim.batches} batches as drawn", f"{value:.3g}", "exact")
        for name, value in found.drawn.items()
    ]
    said += (
        [Measure("ε with the batches as stated or drawn", "no bound", found.no_bound)]
        if found.no_bound
        else []
    )
    return Found(said, findings, conditions="the facts of the claim")


def _epsilon(claim: Claim, found: Recomputed) -> list[Finding]:
    if not found.stated:
        return [_contradicted("The claim cannot be accounted for", found.no_bound)]
    least, most = min(found.stated.values()), max(found.stated.values())
    named = found.stated.get(claim.accountant or "", least)
    listed = ", ".join(f"{value:.3g} ({name})" for name, value in found.stated.items())
    evidence = f"Claimed is ε = {claim.epsilon:g} at δ = {claim.delta:g}; the stated facts give {listed}."
    if claim.epsilon < named * (1 - SLACK):
        by = f" by {claim.accountant}" if claim.accountant in found.stated else ""
        return [_contradicted(f"The claimed ε is not what its facts give{by}", evidence)]
    if claim.epsilon > most * (1 + 10 * SLACK):
        return [
            Finding(
                title="The claimed ε is larger than its facts give",
                severity="medium",
                evidence=f"{evidence} The promise holds, but the statement is not about these facts.",
                found_by=FUNCTION,
                condition="State the facts that the claimed ε was computed from.",
                refs=(GDPR_ACCOUNTABLE,),
            )
        ]
    return []


def _sampler(claim: Claim, found: Recomputed) -> list[Finding]:
    if not _differs(claim):
        return []
    real = f" With {claim.batches} batches " + (
        f"the same run costs ε = {min(found.drawn.values()):.3g}."
        if found.drawn
        else f"there is no figure: {found.no_bound}"
    )
    evidence = (
        f"The accountant was told {claim.sampler} batches, the code draws {claim.batches} batches.{real}"
    )
    return [_contradicted(f"{claim.batches} batches under {claim.sampler} accounting".capitalize(), evidence)]


def _delta(project: Project) -> list[Finding]:
    delta, n = project.claim.delta, int(project.trained_on.sum())
    if delta is None or delta * n < 1:
        return []
    return [
        _contradicted(
            "δ is not below 1 / number of records",
            f"δ = {delta:g} with {n:,} records: a mechanism that publishes one record in clear would satisfy it.",
        )
    ]


def _contradicted(title: str, evidence: str) -> Finding:
    return Finding(
        title=title,
        severity="critical",
        evidence=evidence,
        found_by=FUNCTION,
        refs=(GDPR_BY_DESIGN, GDPR_ACCOUNTABLE),
    )


CHECK = Check(
    name="accounting",
    title="ε computed anew",
    question="Is the stated ε what accountants compute from the stated facts, batches drawn as they were?",
    measure=measure,
    judge=judge,
    absent=absent,
    essential=True,
    functions=(FUNCTION,),
    answers=("statement.recomputed", "statement.delta"),
)
