"""What is reviewed: a model, its data, what is claimed about them, and what the reviewer may use.

A `Project` is made in Python, or read from a YAML file by `labkit.governance.read_project`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.governance.answering import as_answering
from labkit.governance.claims import Claim, Mark, Shadows, Submitted
from labkit.governance.findings import ReviewError

if TYPE_CHECKING:
    from torch import nn

    from labkit.data import Dataset
    from labkit.results import Result

LIMITS = ("tpr_at_1_percent_fpr", "auc", "accuracy")


@dataclass(frozen=True, kw_only=True, eq=False)
class Project:
    """A submission to the review board.

    Attributes
    ----------
    title, owner : str
        What is to be approved, and who answers for it.
    model : nn.Module, or fitted scikit-learn classifier
        Gives one logit for each class, tried on two records: where it answers otherwise, see `labkit.governance.as_answering`.
    dataset : Dataset
        Its train records trained the model (see ``members``), its test records did not.
    members : bool array of shape (train records,), optional
        Which train records the model was trained on (default: all).
    claim : Claim or None
        Of differential privacy.
    promises : mapping
        Limits that the submission promises: of `LIMITS` ("accuracy" from below, the others from above).
    defences : tuple of str
        What protects the model besides differential privacy, such as "label smoothing": an attacker must know it.
    train_step : callable, optional
        ``train(task, settings, seed)`` for the conformance audit: see `labkit.audit.conformance`.
    loader : DataLoader, optional
        That drew the batches.
    trainer : callable, optional
        ``train(dataset)`` that returns a model, for the audit in one run: see `labkit.audit.audit_one_run`.
    trainer_minutes : float
        That one call of ``trainer`` takes.
    shadows : Shadows or None
    mark : Mark or None
    evidence : tuple of Submitted
        What the submission itself measured of leakage.
    measured : tuple of Result
        Results that labkit made before (`AuditResult`, `ConformanceResult`, `Verdict`, marks and threats of a
        federation): their check judges them instead of measuring anew.
    record : mapping, optional
        ``evidence`` (an `labkit.evidence.Evidence`) and ``roster`` (public key by name): custody of the mark.
    answers : mapping
        What people answer to the checklist, by id.
    checks : sequence of str, optional
        Names of the checks to run (default: all); what is left out is a condition.
    budget_minutes : float
    days : int, optional
        That the decision shall last at most.
    expected : mapping
        Digests that the submission states, of "model" and "data": they have to be those that are found.
    files : mapping
        SHA-256 of the files that were read, by name.
    seed : int
        Of what the review draws.
    """

    title: str
    owner: str
    model: nn.Module
    dataset: Dataset
    members: np.ndarray | None = None
    claim: Claim | None = None
    promises: Mapping[str, float] = field(default_factory=dict)
    defences: Sequence[str] = ()
    train_step: Callable[..., Any] | None = None
    loader: Any = None
    trainer: Callable[..., Any] | None = None
    trainer_minutes: float = 1.0
    shadows: Shadows | None = None
    mark: Mark | None = None
    evidence: Sequence[Submitted] = ()
    measured: Sequence[Result] = ()
    record: Mapping[str, Any] | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[str] | None = None
    budget_minutes: float = 30.0
    days: int | None = None
    expected: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.title.strip() or not self.owner.strip():
            raise ReviewError("title and owner: expected words: somebody answers for what is approved")
        asked = as_answering(self.model, self.dataset.train_x, len(self.dataset.classes))
        object.__setattr__(self, "model", asked)
        if not self.budget_minutes > 0:
            raise ReviewError(f"budget_minutes is {self.budget_minutes}; expected more than 0")
        if unknown := set(self.promises) - set(LIMITS):
            raise ReviewError(f"promises: {sorted(unknown)} unknown; expected some of {', '.join(LIMITS)}")
        if bad := {name: value for name, value in self.promises.items() if not 0 <= value <= 1}:
            raise ReviewError(f"promises: {bad}; expected shares between 0 and 1")
        n = len(self.dataset.train_y)
        if self.members is not None:
            members = np.asarray(self.members)
            if members.dtype != bool or members.shape != (n,) or not members.any():
                raise ReviewError(
                    f"members is {members.dtype} {members.shape}; expected a bool for each of {n:,} train records, some true"
                )

    @cached_property
    def trained_on(self) -> np.ndarray:
        """Which train records the model was trained on, bool."""
        n = len(self.dataset.train_y)
        return np.ones(n, dtype=bool) if self.members is None else np.asarray(self.members)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 over the content of model, data and statement, as labkit reads them."""
        from labkit import cache

        found = {
            "model": model_digest(self.model),
            "data": cache.digest(str(self.dataset.digest), self.trained_on),
        }
        if self.claim is not None:
            facts = replace(self.claim, statement=None)  # made by labkit, it says the same by its own text
            found["statement"] = cache.digest(facts, str(self.claim.statement))
        return found

    def find(self, kind: type) -> Any:
        """Return the one result of a kind that was measured before, or None.

        Raises
        ------
        ReviewError
            If there are several: which one counts?
        """
        found = [one for one in self.measured if isinstance(one, kind)]
        if len(found) > 1:
            raise ReviewError(f"measured: {len(found)} results of kind {kind.__name__}; expected one")
        return found[0] if found else None


def model_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's structure, weights and settings (for a scikit-learn model, of it as pickled).

    Settings count whether ``repr`` prints them or not: a temperature, or which part of an answer holds the logits.
    """
    from labkit import adapt, cache
    from labkit.training.shelf import settings_of

    if isinstance(model, adapt.Estimator):
        return cache.digest(repr(model), model.classes, pickle.dumps(model.estimator))
    held = {name: settings_of(part) for name, part in model.named_modules()}
    return cache.digest(repr(model), dict(model.state_dict()), held)
