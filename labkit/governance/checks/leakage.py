"""How leakage figures are judged, whichever attack found them: limits, averages, ceilings and controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.audit.guessing import tallies
from labkit.audit.result import AuditResult, conclude
from labkit.dp.accounting.ceiling import roc_ceiling
from labkit.governance.checks.base import (
    GDPR_ANONYMOUS,
    GDPR_SECURITY,
    Found,
    Measure,
    conditions,
    picture,
    shown,
)
from labkit.governance.findings import Finding
from labkit.governance.project import Project
from labkit.membership.reports.intervals import Operating
from labkit.membership.reports.result import AttackResult, Report, report
from labkit.stats import Interval, clopper_pearson

RATE = 0.01
LIMITS = {"tpr_at_1_percent_fpr": 0.05, "auc": 0.6}  # the board's own, where the project promises none
NAMES = {"tpr_at_1_percent_fpr": "members found at 1% false positives", "auc": "AUC"}
CONFIDENCE = 0.99  # a claim is contradicted in one honest review of a hundred, at most
FAIR = 0.02  # that the share of members may differ from one half
OF = "records of the pool, for this one model"


@dataclass(frozen=True, eq=False)
class Attacked:
    """What attacks on one pool found.

    Attributes
    ----------
    reports : dict of str to Report
        By attack.
    audit : AuditResult or None
        The claim, tested by all their guesses together; None without a claim.
    models, wanted : int
        Shadow models, and how many were asked for.
    accuracy : Interval or None
        Of the model, on records that it was not trained on.
    shadows_accuracy : float
        Mean of the shadow models' own, each on records that it was not trained on.
    """

    reports: dict[str, Report]
    audit: AuditResult | None
    models: int = 0
    wanted: int = 0
    accuracy: Interval | None = None
    shadows_accuracy: float = np.nan


def measured(
    project: Project, results: Sequence[AttackResult], *, control: str = "", models: int = 0, wanted: int = 0
) -> Attacked:
    """Return reports on attacks, and what all of them (but the control) say about the claim."""
    # The records themselves need not be kept twice.
    reports = {one.name: report(replace(one, pictures=None), seed=project.seed) for one in results}
    audit = _as_audit(project, [one for one in results if one.name != control])
    if audit is not None:
        assert audit.power  # computed here, so that it is kept
    return Attacked(reports, audit, models, wanted)


def figures_of(report: Report) -> dict[str, Interval]:
    """Return the figures that have limits, as far as the records support them."""
    point = report.points.get(RATE)
    found = {"auc": report.auc}
    return ({"tpr_at_1_percent_fpr": point.tpr} if isinstance(point, Operating) else {}) | found


def _as_audit(project: Project, attacks: Sequence[AttackResult]) -> AuditResult | None:
    """Return what the attacks' guesses say about the claimed ε: an audit in one run (arXiv 2305.08846).

    Members and non-members are as many, so membership is close to a fair coin for each record; all attacks and shares
    of guesses together err with 1%. None without a claim, or where they are not as many (a bank that was handed in).
    """
    share = float(attacks[0].members.mean())
    if project.claim is None or abs(share - 0.5) > FAIR:
        return None
    scores = {one.name: one.scores for one in attacks}
    return conclude(
        tallies(scores, attacks[0].members, seed=project.seed),
        claimed=project.claim.tested(),
        delta=project.claim.delta or 0.0,
        confidence=CONFIDENCE,
        method="guesses of the attacks",
        source=project.dataset.source,
        seed=project.seed,
    )


def judged(
    project: Project, reports: Mapping[str, Report], audit: AuditResult | None, function: str
) -> Found:
    """Return measures and findings of attacks on one pool: the strongest one decides, and the claim is tested by all."""
    worst = {name: _worst(name, reports) for name in LIMITS}
    findings = [one for name in LIMITS for one in _limits(project, name, reports, function)]
    said = [
        shown(f"{attack}: {NAMES[name]}", value, OF, percent=name != "auc")
        for attack, report in reports.items()
        for name, value in figures_of(report).items()
    ]
    refused = {r.points[RATE].reason for r in reports.values() if not isinstance(r.points[RATE], Operating)}
    said += [Measure(NAMES["tpr_at_1_percent_fpr"], "not measured", reason) for reason in sorted(refused)]
    if worst["tpr_at_1_percent_fpr"] is None:
        findings.append(_unmeasured(project, sorted(refused)[0], function))
    if audit is not None:
        said.append(
            Measure(
                "the claim, tested by these guesses", audit.verdict, f"{CONFIDENCE:.0%}, all guesses together"
            )
        )
        findings += _contradiction(audit)
    elif project.claim is not None:
        said.append(
            Measure("the claim, tested by these guesses", "not tested", "members are not half of the records")
        )
    best = max(reports.values(), key=lambda one: one.auc.estimate)
    return Found(said, findings, [picture(best.plot())], conditions(project))


def _worst(name: str, reports: Mapping[str, Report]) -> tuple[str, Interval] | None:
    found = [(attack, figures_of(one)[name]) for attack, one in reports.items() if name in figures_of(one)]
    return max(found, key=lambda pair: pair[1].low) if found else None


def _limits(project: Project, name: str, reports: Mapping[str, Report], function: str) -> list[Finding]:
    """Hold every attack's interval against the limit, and return what stands worst: each has to keep it whole."""
    found = [(attack, figures_of(one)[name]) for attack, one in reports.items() if name in figures_of(one)]
    by_low, by_high = (
        max(found, key=lambda pair: getattr(pair[1], end), default=None) for end in ("low", "high")
    )
    if by_low is None:
        return []
    return _limit(project, name, *by_low, function) or _limit(project, name, *by_high, function)


def _limit(project: Project, name: str, attack: str, found: Interval, function: str) -> list[Finding]:
    promised = project.promises.get(name)
    limit = LIMITS[name] if promised is None else promised
    whose = "the board's limit (none is promised)" if promised is None else "the promised limit"
    text = str(found) if name == "auc" else found.percent(1)
    common = {
        "evidence": f"{attack}: {NAMES[name]} {text}; {whose} is {limit:g}.",
        "found_by": function,
        "interval": found,
        "interval_of": f"{NAMES[name]}, over {OF}",
        "refs": (GDPR_SECURITY, GDPR_ANONYMOUS),
    }
    if found.low > limit:
        return [
            Finding(
                title=f"Leakage above {whose}: {NAMES[name]}",
                severity="high" if promised is None else "critical",
                condition="Protect the model (differential privacy, less training), and attack it again.",
                **common,
            )
        ]
    if promised is not None and found.high > limit:
        return [
            Finding(
                title=f"Not shown to keep the promised limit: {NAMES[name]}",
                severity="medium",
                condition="Measure on more records, or promise a limit that the whole interval keeps.",
                **common,
            )
        ]
    return []


def _unmeasured(project: Project, reason: str, function: str) -> Finding:
    """Say that the figure by which attacks are judged is missing; only a claim can bound it then."""
    title, claim = "Too few records to measure leakage at 1% false positives", project.claim
    if claim is not None and claim.delta is not None and "tpr_at_1_percent_fpr" not in project.promises:
        bound = float(roc_ceiling(np.array([RATE]), claim.epsilon, claim.delta)[0])
        evidence = f"{reason}. If the claim is true, at most {bound:.1%} of members can be found."
        return Finding(title, "low", evidence, function, refs=(GDPR_SECURITY,))
    return Finding(
        title=title,
        severity="medium",
        evidence=f"{reason}. No claim of differential privacy bounds it.",
        found_by=function,
        condition="Submit more records that the model was not trained on, or claim (and show) a bound.",
        refs=(GDPR_SECURITY,),
    )


def _contradiction(audit: AuditResult) -> list[Finding]:
    if not audit.refuted:
        return []
    best = audit.best
    share = clopper_pearson(best.correct, best.guesses)
    return [
        Finding(
            title="The claimed privacy is contradicted by an attack",
            severity="critical",
            evidence=f"{audit.verdict} ({best.name}: {best.correct:,} right).",
            found_by="labkit.audit.one_run_p_value",
            interval=share,
            interval_of="the share of right guesses",
            refs=(GDPR_SECURITY, GDPR_ANONYMOUS),
        )
    ]
