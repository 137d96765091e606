"""A federation's threat analysis, as the review sees it: what is open is a condition, what was not shown is not known."""

from __future__ import annotations

from labkit.federated.threats.findings import Finding as Threat
from labkit.federated.threats.findings import Findings
from labkit.governance.checks.base import GDPR_SECURITY, Absent, Check, Found, picture
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.federated.threats.run"
BROKEN = "More leaks than the promise allows"  # the one threat that is a claim: shown, it is contradicted
SEVERITY = {
    "critical": "high",
    "high": "high",
    "medium": "medium",
    "low": "low",
    "none": "low",
    "unknown": "medium",
}


def absent(project: Project) -> Absent | None:
    """Say when the model comes from one house."""
    if project.find(Findings) is not None:
        return None
    return Absent("no federation: the model was trained in one place", applies=False)


def judge(project: Project, found: Findings) -> Found:
    """Turn threats into findings: their severity is the worst that was not excluded, so an open one is no contradiction."""
    said = [
        Measure("threats tried", f"{len(found)}", found.system),
        *(
            Measure(status, f"{found.count(status)}", "by the rule of the analysis")
            for status in ("open", "answered", "not shown")
        ),
    ]
    findings = [_finding(one) for one in found.findings if one.status != "answered"]
    where = f"{found.source}; profile {found.profile}; seeds {', '.join(map(str, found.seeds))}"
    return Found(said, findings, [picture(found.plot())], where)


def attacked_by_shadows(project: Project) -> bool:
    """Return whether the analysis attacked the model with shadow federations, by LiRA or RMIA."""
    found = project.find(Findings)
    tried = [] if found is None else [one.evidence for one in found.findings if one.status != "not shown"]
    return any(name in evidence for evidence in tried for name in ("LiRA", "RMIA"))


def _finding(one: Threat) -> Finding:
    shown = one.status == "open"
    contradicted = one.title == BROKEN and shown and one.interval.low > 0
    return Finding(
        title=f"{one.title}: {one.status}" + (f", at worst {one.severity}" if shown else ""),
        severity="critical" if contradicted else SEVERITY[one.severity],
        evidence=f"{one.adversary} (knows {one.knowledge}). {one.evidence}",
        found_by=FUNCTION,
        interval=one.interval,
        interval_of=f"{one.number}, over {one.interval_of}" if shown else "",
        condition=f"Answer the threat or accept it by name: {one.title}. Control: {one.control}.",
        refs=(GDPR_SECURITY,),
    )


CHECK = Check(
    name="threats",
    title="Threats to the federation",
    question="Which threats to a system of several parties are answered, and which are open?",
    measure=lambda project, minutes: None,
    judge=judge,
    absent=absent,
    functions=(FUNCTION,),
    kinds=(Findings,),
)
