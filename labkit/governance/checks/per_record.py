"""Does the architecture allow the promise: is each record treated alone, and are its gradients right?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from labkit.adapt import Estimator
from labkit.governance.checks.base import GDPR_BY_DESIGN, Absent, Check, Found, conditions
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

MODEL = "labkit.dp.training.model_check.check_model"
GRADIENTS = "labkit.dp.training.model_check.check_gradients"


def absent(project: Project) -> Absent | None:
    """Say when there is nothing to look at."""
    if project.claim is None:
        return Absent("no differential privacy is claimed", applies=False)
    if isinstance(project.model, Estimator):
        return Absent("a scikit-learn model: how its gradients were clipped cannot be seen from it")
    return None


def measure(project: Project, minutes: float) -> dict[str, str]:
    """Return what is wrong with the model, and with per-sample gradients by Opacus and by torch.func; empty if nothing."""
    from labkit.dp.training import model_check

    model = _unfrozen(project.model)
    found = {"model": _said(model_check.check_model, model, project.dataset)}
    if not found["model"]:
        few = project.dataset.train_x[:8], project.dataset.train_y[:8]
        found |= {
            engine: _said(model_check.check_gradients, engine, model, *few) for engine in ("opacus", "vmap")
        }
    return found


def _unfrozen(model: nn.Module) -> nn.Module:
    """Return a copy whose weights can be trained: a released model is often frozen."""
    copied = copy.deepcopy(model)
    if not any(weight.requires_grad for weight in copied.parameters()):
        copied.requires_grad_(True)
    return copied


def _said(check: Callable[..., None], *given: Any) -> str:
    """Return what a check that raises has to say; empty if nothing."""
    try:
        check(*given)
    except (ValueError, NotImplementedError) as error:
        return str(error) or type(error).__name__
    return ""


def judge(project: Project, found: dict[str, str]) -> Found:
    """Refuse a claim that no training of this architecture can keep."""
    findings = []
    if found["model"]:
        findings.append(
            Finding(
                title="The architecture breaks the promise: clipping bounds nothing",
                severity="critical",
                evidence=found["model"],
                found_by=MODEL,
                refs=(GDPR_BY_DESIGN,),
            )
        )
    wrong = {engine: said for engine, said in found.items() if engine != "model" and said}
    if wrong:
        findings.append(
            Finding(
                title="Per-sample gradients of this architecture are wrong in " + " and in ".join(wrong),
                severity="medium",
                evidence=" ".join(wrong.values()),
                found_by=GRADIENTS,
                condition="Name the engine that trained, and show that its per-sample gradients agree with autograd's.",
                refs=(GDPR_BY_DESIGN,),
            )
        )
    said = [
        Measure(
            "records treated alone, nothing kept but weights",
            "no" if found["model"] else "yes",
            "tried on 4 records",
        ),
        *(
            Measure(f"per-sample gradients by {engine}", text or "as autograd's", "tried on 4 records")
            for engine, text in found.items()
            if engine != "model"
        ),
    ]
    return Found(said, findings, conditions=conditions(project))


CHECK = Check(
    name="per_record",
    title="One record at a time",
    question="Does the architecture treat each record alone, and are per-sample gradients right?",
    measure=measure,
    judge=judge,
    absent=absent,
    functions=(MODEL, GRADIENTS),
    answers=("pitfalls.mixes_records", "pitfalls.gradients"),
)
