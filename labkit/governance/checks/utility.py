"""Is the model better than the answer that needs no model?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit import stats
from labkit.governance.checks.base import AI_ACT_ACCURACY, Check, Found, conditions, shown
from labkit.governance.findings import Finding, Measure
from labkit.governance.project import Project

FUNCTION = "labkit.stats.mcnemar"


@dataclass(frozen=True)
class Utility:
    """How often model and majority answer are right on the test records, class by class."""

    right: np.ndarray
    majority: np.ndarray
    recall: dict[str, stats.Interval]
    majority_class: str


def measure(project: Project, minutes: float) -> Utility:
    """Ask the model about the test records, once."""
    from labkit.training import logits

    data = project.dataset
    labels = data.test_y.numpy()
    answers = logits(project.model, data.test_x).argmax(1).numpy()
    common = int(np.bincount(data.train_y.numpy()).argmax())
    recall = {
        name: stats.clopper_pearson(int((answers[labels == k] == k).sum()), int((labels == k).sum()))
        for k, name in enumerate(data.classes)
        if (labels == k).any()
    }
    return Utility(answers == labels, labels == common, recall, data.classes[common])


def judge(project: Project, found: Utility) -> Found:
    """Compare with the majority answer on the same records, and with what was promised."""
    n = len(found.right)
    accuracy = stats.clopper_pearson(int(found.right.sum()), n)
    base = stats.clopper_pearson(int(found.majority.sum()), n)
    compared = stats.mcnemar(found.right, found.majority)
    worst = min(found.recall, key=lambda name: found.recall[name].estimate)
    balanced = float(np.mean([one.estimate for one in found.recall.values()]))
    said = [
        shown("accuracy", accuracy, f"{n:,} test records, of this one model"),
        shown(f"base rate: always {found.majority_class!r}", base, "the same records"),
        Measure("model minus base rate", str(compared), "paired, on the same records"),
        Measure("balanced accuracy", f"{balanced:.1%}", "mean of the classes' recalls"),
        shown(f"worst class, {worst!r}: recall", found.recall[worst], "its test records"),
    ]
    findings = [*_majority(compared, accuracy, base), *_promise(project, accuracy)]
    return Found(said, findings, conditions=conditions(project))


def _majority(compared: stats.Paired, accuracy: stats.Interval, base: stats.Interval) -> list[Finding]:
    if compared.difference.estimate > 0 and compared.p_value <= 0.05:
        return []
    return [
        Finding(
            title="The model is not shown to be better than the majority answer",
            severity="medium",
            evidence=f"Accuracy {accuracy.percent(1)}, majority answer {base.percent(1)}; difference {compared}.",
            found_by=FUNCTION,
            interval=compared.difference,
            interval_of="the paired difference over test records",
            condition="Show a metric that the use needs (recall at a rate, a cost) in which the model is better, or withdraw it.",
            refs=(AI_ACT_ACCURACY,),
        )
    ]


def _promise(project: Project, accuracy: stats.Interval) -> list[Finding]:
    promised = project.promises.get("accuracy")
    if promised is None or accuracy.low >= promised:
        return []
    broken = accuracy.high < promised
    return [
        Finding(
            title="Promised accuracy " + ("is contradicted" if broken else "is not shown to hold"),
            severity="critical" if broken else "medium",
            evidence=f"Promised is {promised:.1%}, measured {accuracy.percent(1)}.",
            found_by="labkit.stats.clopper_pearson",
            interval=accuracy,
            interval_of="accuracy over test records, of this one model",
            condition="Promise what a lower bound supports, or test on more records.",
            refs=(AI_ACT_ACCURACY,),
        )
    ]


CHECK = Check(
    name="utility",
    title="Usefulness",
    question="Is the model better than the answer that needs no model?",
    measure=measure,
    judge=judge,
    functions=(FUNCTION, "labkit.training.logits"),
    answers=("release.useful",),
)
