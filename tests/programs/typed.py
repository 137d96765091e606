"""A small program that uses each package with type hints: what a checker sees of labkit in a project of one's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labkit import audit, data, dp, federated, membership, models, training, watermark
from labkit.evidence import Signer
from labkit.results import Result
from labkit.stats import Interval


def statement(records: data.Dataset) -> dp.PrivacyStatement:
    """Return what a private run may claim."""
    result: dp.PrivateResult = dp.train_private(
        models.small_cnn(), records, noise_multiplier=1.0, max_grad_norm=1.0, steps=1, seed=0
    )
    epsilon: float = result.privacy.epsilon
    return result.privacy if epsilon > 0 else dp.privacy_statement([])


def leakage(records: data.Dataset, make_model: partial[nn.Sequential]) -> membership.Report:
    """Return an attack's figures."""
    recipe = training.Recipe(epochs=1)
    bank = membership.shadow_bank(records, make_model=make_model, recipe=recipe, shadow_models=4)
    target: membership.Target = bank.target(0)
    found: membership.AttackResult = membership.attack("rmia-offline", target, bank.without(0))
    accuracy: Interval = target.accuracy
    assert accuracy.low <= accuracy.high
    return found.report()


def owned(records: data.Dataset, model: nn.Module, innocent: list[nn.Module]) -> watermark.Verdict:
    """Return whether a model carries a mark."""
    key = watermark.Key.new()
    marked: watermark.MarkedModel = watermark.embed(
        "noise", model, records, key, recipe=training.Recipe(epochs=1)
    )
    triggers: watermark.TriggerSet | None = marked.triggers
    assert triggers is not None
    return watermark.verify(marked, triggers, innocent)


def audited(records: data.Dataset) -> audit.AuditResult:
    """Return what an audit of a training function finds."""

    def train(inserted: data.Dataset) -> nn.Module:
        fitted: training.FitResult = training.fit(models.small_cnn(), inserted, epochs=1)
        return fitted.model

    return audit.audit_one_run(train, records, canary_count=10)


def together(hospitals: federated.Hospitals, features: int) -> federated.FederatedResult:
    """Return a federation's model and what it cost."""
    noise: federated.Noise = federated.calibrate(
        "central", 3.0, rounds=2, hospitals=4, threshold=3, max_grad_norm=0.5
    )
    terms = federated.Training(rounds=2)
    plan = federated.Federation(hospitals, partial(models.logistic_regression, features, 2), terms, noise)
    return federated.federate(plan)


def keep(results: list[Result], folder: Path) -> list[Path]:
    """Save results of any kind."""
    return [result.save(folder / f"{number}.json") for number, result in enumerate(results)]


def scores(model: nn.Module, x: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the probabilities that a model answers."""
    answers = training.logits(model, x).softmax(1)
    return np.asarray(answers, dtype=np.float64)


def signed() -> Signer:
    """Return a new signer."""
    return Signer.new()
