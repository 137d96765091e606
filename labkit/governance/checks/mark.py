"""Is the mark there that the submission says it put in?"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from labkit import adapt
from labkit.federated.marks.mark_report import NULLS as FEDERATIONS
from labkit.federated.marks.mark_report import MarkReport
from labkit.governance.checks.base import Absent, CannotRun, Check, Found, conditions, picture, shown
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project, model_digest
from labkit.stats import p_text
from labkit.watermark.verification.asking import answers, probabilities
from labkit.watermark.verification.redrawn_keys import RedrawnKeys, score
from labkit.watermark.verification.verdict import NULLS, Verdict
from labkit.watermark.verification.verify import judge as verdict_of

FUNCTION = "labkit.watermark.verify"
LOOSEST = 0.01  # alpha that a submission may fix for its own mark
FEDERATED = "labkit.federated.marks.verify"
PROCESS = secrets.token_hex(8)  # a callable cannot be read: what it answered is not kept for another process


def absent(project: Project) -> Absent | None:
    """Say when there is no mark, or no one to compare with."""
    if project.find(Verdict) is not None or project.find(MarkReport) is not None:
        return None
    if project.mark is None:
        return Absent("no mark is claimed", applies=False)
    if len(_nulls(project)) < 2:
        return Absent(
            f"{len(_nulls(project))} distinct null models: {NULLS} that never met the mark are needed (mark: nulls)"
        )
    return None


def _nulls(project: Project) -> list[Any]:
    """Return models without the mark, each once: those given, and shadow models that can be asked."""
    bank = project.shadows.bank if project.shadows else None
    spare = [] if bank is None else [bank.model(k) for k in range(len(bank)) if bank._has_weights(k)]
    return list({_identity(null): null for null in [*project.mark.nulls, *spare]}.values())


def _identity(null: Any) -> str:
    """Return what tells one null model from another: its content, or itself where that cannot be read."""
    known = isinstance(null, nn.Module) or hasattr(null, "predict_proba")
    return model_digest(adapt.as_module(null)) if known else f"{id(null)} of {PROCESS}"


def settings(project: Project) -> dict[str, Any]:
    """Return what is asked, and whom it is compared with."""
    if project.mark is None:
        return {}
    mark = project.mark
    nulls = [_identity(null) for null in _nulls(project)]
    drawn = None if mark.redrawn is None else [mark.redrawn.own, mark.redrawn.redrawn, mark.redrawn.numbers()]
    return {"x": mark.x, "y": mark.y, "nulls": nulls, "alpha": mark.alpha, "redrawn": drawn}


def measure(project: Project, minutes: float) -> Verdict:
    """Ask model and null models the same questions."""
    mark, expected = project.mark, project.mark.y.numpy()
    try:
        hit = answers(project.model, mark.x) == expected
        null_hit = np.array([answers(null, mark.x) == expected for null in _nulls(project)])
        if mark.redrawn is not None:
            _of_this_model(project, mark.redrawn)
    except (TypeError, ValueError) as error:
        raise CannotRun(str(error)) from error
    return verdict_of(
        hit,
        null_hit,
        alpha=mark.alpha,
        minimum=2,  # a verdict on fewer than 20 makes no claim, and says so
        what=f"{mark.kind} triggers",
        suspect=project.title,
        source=project.dataset.source,
        seed=project.seed,
        redrawn=mark.redrawn,
    )


def _of_this_model(project: Project, drawn: RedrawnKeys) -> None:
    """Refuse keys drawn anew that another model was asked about, or other triggers: the owner's scores say which.

    Raises
    ------
    ValueError
        If this model's answers to the triggers do not score what the result holds.
    """
    mark = project.mark
    shown = None if drawn.statistic == "hits" else probabilities(project.model, mark.x)
    labels = answers(project.model, mark.x) if shown is None else shown.argmax(1)
    own = score(labels, shown, mark.y.numpy())
    if drawn.statistic in ("hits", "margin") and not (
        own.shape == drawn.own.shape and np.allclose(own, drawn.own, rtol=1e-3, atol=1e-3, equal_nan=True)
    ):
        raise ValueError(
            "the keys drawn anew are of another model or of other triggers: the model's own answers to the triggers score "
            "otherwise; ask this model (labkit.watermark.verification.redrawn_keys)"
        )


def judge(project: Project, found: Verdict | MarkReport) -> Found:
    """A mark that is claimed and not found is a claim that is contradicted."""
    return _of_hospitals(project, found) if isinstance(found, MarkReport) else _of_one(project, found)


def _of_one(project: Project, found: Verdict) -> Found:
    asked = found.alpha
    found = replace(found, alpha=min(asked, LOOSEST))
    whose = "fixed in advance" if asked <= LOOSEST else f"the board's: {asked:g} would accuse the innocent"
    said = [
        shown("triggers answered as marked", found.rate, "triggers, for this one model"),
        Measure(
            "null models",
            f"{found.null_rates.min():.1%} to {found.null_rates.max():.1%}",
            f"{len(found.null_hit)} models",
        ),
        Measure("p-value", found.p_text, f"alpha = {found.alpha:g}, {whose}"),
        shown("false claims", found.false_claim_rate, "null models"),
    ]
    findings = []
    if not found.enough_nulls:
        findings.append(
            _rehearsal(f"{len(found.null_hit)} null models, {NULLS} are needed. {found.verdict}.", FUNCTION)
        )
    elif not found.decided:
        findings.append(
            Finding(
                title="The claimed mark is not found",
                severity="critical",
                evidence=found.verdict,
                found_by=FUNCTION,
                interval=found.rate,
                interval_of="the share of triggers answered as marked",
            )
        )
    elif found.redrawn is None and found.chance is None:
        findings.append(_picked(found))
    return Found(said, findings, [picture(found.plot())], conditions(project, seed=found.seed))


def _picked(found: Verdict) -> Finding:
    """Any model answers triggers as marked that were picked by a look at its answers."""
    return Finding(
        title="Nothing shows that the triggers were not picked to fit the model",
        severity="medium",
        evidence=f"{found.verdict}. No other keys were drawn and asked: inputs on which this model alone answers so can be "
        "found for any model, marked or not.",
        found_by=FUNCTION,
        condition="Let the board draw keys anew (labkit.watermark.verification.redrawn_keys; mark: import, with redrawn), and "
        "show that the key was committed to before the model was released.",
    )


def _of_hospitals(project: Project, found: MarkReport) -> Found:
    marked = found.found("bits")
    lost = [name for name in found.lines if name not in marked]
    said = [
        Measure(
            "hospitals whose mark is found",
            f"{len(marked)} of {len(found.lines)}",
            f"alpha = {found.alpha:g} each",
        )
    ]
    for name, lines in found.lines.items():
        line = lines[0]
        said.append(
            Measure(
                f"{name}: strength z",
                f"{line.statistic:.1f}",
                f"rank p {p_text(line.rank)}, bound {p_text(line.bound, digits=1)}",
            )
        )
    findings = []
    if found.nulls < FEDERATIONS:
        said_ = f"{found.nulls} null federations, {FEDERATIONS} are needed. {found.summary()}."
        findings.append(_rehearsal(said_, FEDERATED))
    if lost:
        findings.append(
            Finding(
                title="Marks that are claimed and not found: " + ", ".join(lost),
                severity="critical" if found.nulls >= FEDERATIONS else "medium",
                evidence=found.summary(),
                found_by=FEDERATED,
                condition="Show the marks in the released model, or do not claim them.",
            )
        )
    return Found(
        said, findings, [picture(found.plot())], f"{found.source}; profile {found.profile}; seed {found.seed}"
    )


def _rehearsal(evidence: str, function: str) -> Finding:
    return Finding(
        title="Too few null models for a claim of ownership",
        severity="medium",
        evidence=evidence,
        found_by=function,
        condition=f"Train {NULLS} models without the mark, and verify again.",
    )


CHECK = Check(
    name="mark",
    title="Ownership",
    question="Is the mark there, by a test that independent models pass?",
    measure=measure,
    judge=judge,
    absent=absent,
    settings=settings,
    kept=True,
    functions=(FUNCTION, FEDERATED),
    answers=("custody.mark",),
    kinds=(Verdict, MarkReport),
)
