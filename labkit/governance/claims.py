"""What a submission claims: about privacy, about leakage, about its mark, and with which evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import cache
from labkit.dp.limits import is_finite
from labkit.governance.findings import ReviewError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from labkit.dp.accounting.events import Event
    from labkit.dp.accounting.statement import PrivacyStatement
    from labkit.membership.shadows.bank import ShadowBank
    from labkit.training.recipe import Recipe

SAMPLERS = ("poisson", "fixed", "without-replacement", "full", "shuffle")
NEIGHBOURS = ("add/remove", "replace-one")
ACCOUNTANTS = ("PLD", "PRV", "RDP")
AVERAGES = ("accuracy", "balanced accuracy", "auc")
METRICS = (*AVERAGES, "tpr")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of differential privacy, in the facts that it is computed from; what is not stated is None.

    Attributes
    ----------
    epsilon, delta : float
    accountant : {"PLD", "PRV", "RDP"} or None
    sampler : str or None
        What the accountant was told: one of `SAMPLERS`.
    batches : str or None
        How the training code drew its batches: one of `SAMPLERS`.
    noise_multiplier, sample_rate, steps : float, float, int
        Noise standard deviation over clipping norm; share of records in a batch; number of releases.
    neighbouring : {"add/remove", "replace-one"} or None
    unit : str or None
        Whom it protects: a record, a person, a hospital.
    records : int or None
    tuning_runs : int or None
        Training runs behind the release, the released one counted in.
    statement : PrivacyStatement or None
        Made by labkit: then its events are the facts.
    """

    epsilon: float
    delta: float | None = None
    accountant: str | None = None
    sampler: str | None = None
    batches: str | None = None
    noise_multiplier: float | None = None
    sample_rate: float | None = None
    steps: int | None = None
    neighbouring: str | None = None
    unit: str | None = None
    records: int | None = None
    tuning_runs: int | None = None
    statement: PrivacyStatement | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (is_finite(self.epsilon) and self.epsilon >= 0):
            raise ReviewError(f"privacy: epsilon is {self.epsilon!r}; expected a finite number of at least 0")
        if self.delta is not None and not (is_finite(self.delta) and 0 <= self.delta < 1):
            raise ReviewError(f"privacy: delta is {self.delta!r}; expected 0 <= delta < 1, such as 1e-5")
        for name, allowed in (
            ("sampler", SAMPLERS),
            ("batches", SAMPLERS),
            ("neighbouring", NEIGHBOURS),
            ("accountant", ACCOUNTANTS),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ReviewError(f"privacy: {name} is {value!r}; expected one of {', '.join(allowed)}")
        if self.tuning_runs is not None and self.tuning_runs < 1:
            raise ReviewError(
                f"privacy: tuning_runs is {self.tuning_runs}; expected at least 1, the released run counted in"
            )
        stated = {} if self.statement is None else _facts(self.statement)
        other = [
            f"{name} {getattr(self, name)!r} (statement: {value!r})"
            for name, value in stated.items()
            if None not in (value, getattr(self, name)) and getattr(self, name) != value
        ]
        if other:
            raise ReviewError(
                f"privacy: the claim says {', '.join(other)}: what is accounted is the statement, so claim what it says "
                "(Claim.of), or leave the statement out"
            )

    @classmethod
    def of(cls, statement: PrivacyStatement, *, batches: str | None = None, unit: str | None = None) -> Claim:
        """Return the claim that a statement of labkit makes; ``batches`` and ``unit`` are what it cannot know."""
        return cls(
            epsilon=statement.epsilon,
            delta=statement.delta,
            accountant=next(iter(statement.epsilons)),
            batches=batches,
            unit=unit,
            statement=statement,
            **{name: value for name, value in _facts(statement).items() if name != "delta"},
        )

    def save(self, path: str | Path) -> Path:
        """Write the facts as JSON, as ``privacy: {statement: FILE}`` of a project file reads them; return the path.

        Raises
        ------
        ReviewError
            If the statement counts several releases, another than Gaussian noise, or a drawn number of training runs: the
            facts name one noise, one rate, and a number of runs.
        OSError
            If the file cannot be written.

        Examples
        --------
        ``Claim.of(result.privacy, batches="poisson", unit="a record").save("privacy.json")``
        """
        if self.statement is not None and (unsaid := _unsaid(self.statement)):
            raise ReviewError(
                f"the statement counts {unsaid}: hand it to governance.review in Python, "
                "Project(claim=Claim.of(statement))"
            )
        stated = {
            name: value for name, value in vars(self).items() if name != "statement" and value is not None
        }
        with cache.atomic_path(path) as part:
            text = json.dumps(
                stated, indent=1, ensure_ascii=False, default=lambda number: number.item()
            )  # NumPy's
            part.write_text(text + "\n", encoding="utf-8")
        return Path(path)

    @property
    def missing(self) -> tuple[str, ...]:
        """The facts without which an ε is no statement, and that are not stated."""
        names = ("delta", "accountant", "sampler", "batches", "noise_multiplier", "sample_rate", "steps")
        names += ("neighbouring", "unit", "tuning_runs")
        return tuple(name for name in names if getattr(self, name) is None)

    def events(self, sampler: str | None = None) -> tuple[Event, ...]:
        """Return what was released, for the accountants; with another sampler, if one is given.

        Raises
        ------
        ReviewError
            If noise, rate, steps or sampler are not stated.
        ValueError
            If they are out of range, or the sampler has no bound.
        """
        from labkit.dp.accounting.events import SampledGaussian

        if self.statement is not None and sampler is None:
            return self.statement.events
        drawn = sampler or self.sampler
        facts = (self.noise_multiplier, self.steps, self.sample_rate, drawn)
        if any(fact is None for fact in facts):
            raise ReviewError("noise_multiplier, steps, sample_rate and sampler are needed to compute ε")
        rate = 1.0 if drawn == "full" else self.sample_rate
        return (SampledGaussian(self.noise_multiplier, self.steps, rate, drawn),)

    def recompute(self, sampler: str | None = None) -> PrivacyStatement:
        """Return the statement that labkit's accountants make of the stated facts.

        Raises
        ------
        ReviewError, ValueError
            As `events`, and if no accountant covers them.
        """
        from labkit.dp.accounting.statement import TuningCost, privacy_statement

        if self.statement is not None and sampler is None:
            kept = self.statement
            return privacy_statement(
                kept.events, delta=kept.delta, neighbouring=kept.neighbouring, tuning=kept.tuning
            )
        runs = self.tuning_runs or 1
        return privacy_statement(
            self.events(sampler),
            delta=self.delta,
            neighbouring=self.neighbouring or "add/remove",
            tuning=TuningCost(runs) if runs > 1 else None,
        )

    def tested(self) -> PrivacyStatement | float:
        """Return the claim in the strongest form in which a measurement can contradict it: its whole curve, or its ε."""
        if self.delta is None or self.epsilon == 0:
            return self.epsilon
        try:
            computed = self.recompute()
        except ValueError:
            return self.epsilon
        # Another ε than the facts give: the claim is the figure, not the curve.
        return computed if abs(computed.epsilon - self.epsilon) <= 0.02 * self.epsilon else self.epsilon

    def __str__(self) -> str:
        said = [f"ε = {self.epsilon:.4g}"]
        said += [f"δ = {self.delta:g}"] if self.delta is not None else ["δ not stated"]
        named = {"accountant": "{}", "sampler": "accounted as {} batches", "batches": "batches drawn: {}"}
        named |= {
            "noise_multiplier": "noise multiplier {:.5g}",
            "sample_rate": "q = {:.3g}",
            "steps": "{} steps",
        }
        named |= {"neighbouring": "{}", "unit": "unit: {}", "tuning_runs": "training runs: {}"}
        said += [
            text.format(getattr(self, name))
            for name, text in named.items()
            if getattr(self, name) is not None
        ]
        return ", ".join(said)


def _facts(statement: PrivacyStatement) -> dict[str, Any]:
    """Return the facts that a statement of labkit names, as `Claim` calls them."""
    return {
        "delta": statement.delta,
        "sampler": statement.sampler,
        "noise_multiplier": statement.noise_multiplier,
        "sample_rate": statement.sample_rate,
        "steps": statement.steps,
        "neighbouring": statement.neighbouring,
        "records": statement.n,
        "tuning_runs": math.ceil(statement.tuning_runs),
    }


def _unsaid(statement: PrivacyStatement) -> str:
    """Return what a statement counts that a file of facts has no word for; empty if nothing."""
    if len(statement.events) > 1:
        return f"{len(statement.events)} releases, and a file of facts names one"
    if statement.main is None:
        return "no Gaussian noise, and a file of facts names no other"
    if statement.tuning is not None and statement.tuning.distribution != "fixed":
        return f"a {statement.tuning.distribution} number of training runs, and a file of facts names a fixed one"
    return ""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """One piece of evidence on leakage that the submission brings.

    Attributes
    ----------
    attack : str
    metric : {"accuracy", "balanced accuracy", "auc", "tpr"}
    value : float
    interval : tuple of float or None
        (low, high)
    false_positive_rate : float or None
        At which a "tpr" was measured.
    shadow_models : int
    knows_defence : bool
        Whether the attacker was trained against the model as it is protected.
    """

    attack: str
    metric: str
    value: float
    interval: tuple[float, float] | None = None
    false_positive_rate: float | None = None
    shadow_models: int = 0
    knows_defence: bool = False

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ReviewError(f"evidence: metric is {self.metric!r}; expected one of {', '.join(METRICS)}")
        if not 0 <= self.value <= 1:
            raise ReviewError(f"evidence: {self.metric} is {self.value}; expected a share between 0 and 1")
        if self.metric == "tpr" and self.false_positive_rate is None:
            raise ReviewError(
                "evidence: a tpr without false_positive_rate says nothing; expected one, such as 0.01"
            )

    def __str__(self) -> str:
        at = "" if self.false_positive_rate is None else f" at {self.false_positive_rate:.2%} false positives"
        ends = "" if self.interval is None else f" [{self.interval[0]:g}, {self.interval[1]:g}]"
        return f"{self.attack}: {self.metric}{at} {self.value:g}{ends or ', no interval'}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shadows:
    """What an attacker with shadow models has: a finished bank, or how to train one.

    Attributes
    ----------
    bank : ShadowBank or None
    target_members : array or None
        With a bank: what the model was trained on, as `ShadowBank.query` takes it.
    records : bool array or None
        With a bank: a mask of its pool, the records to score (default: all).
    make_model, recipe : callable, Recipe
        Without a bank: an untrained model of the architecture, and how it is trained.
    train : callable
        Instead of both: the submission's own ``train(x, y, seed)``, which returns a fitted model. It may protect it, too.
    models : int
        Even; as many are trained as the budget allows.
    knows_defence : bool
        Whether they were trained as the model was, its protection included.
    """

    bank: ShadowBank | None = None
    target_members: np.ndarray | None = None
    records: np.ndarray | None = None
    make_model: Callable[[], nn.Module] | None = None
    recipe: Recipe | None = None
    train: Callable[..., Any] | None = None
    models: int = 16
    knows_defence: bool = False

    def __post_init__(self) -> None:
        by_recipe = self.make_model is not None and self.recipe is not None
        if self.bank is None and by_recipe == (self.train is not None):
            raise ReviewError(
                "shadows: expected a bank (arrays or import), an architecture and a recipe, or a training function"
            )
        if self.bank is None and (self.models < 4 or self.models % 2):
            raise ReviewError(f"shadows: models is {self.models}; expected an even number of at least 4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Mark:
    """A mark that the model is said to carry.

    Attributes
    ----------
    x, y : Tensor of shape (n, ...), (n,)
        Triggers and the marked answers.
    kind : str
    nulls : sequence of models
        Trained independently, without the mark.
    redrawn : RedrawnKeys or None
        How the model answers keys drawn anew: see `labkit.watermark.verification.redrawn_keys`.
    alpha : float
        Fixed before the first query.
    """

    x: Tensor
    y: Tensor
    kind: str = "own"
    nulls: Sequence[Any] = ()
    redrawn: Any = None
    alpha: float = 1e-3
