"""Choosing ε: which point of a curve is good enough, for whom, and why none is where none is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from labkit import metrics, stats
from labkit.dp.utility.decision import Decision, NoDecision

if TYPE_CHECKING:
    from labkit.dp.accounting.statement import PrivacyStatement, TuningCost
    from labkit.dp.utility.tradeoff import Tradeoff


def decide(
    tradeoff: Tradeoff,
    *,
    required_accuracy: float | None = None,
    max_epsilon: float | None = None,
    metric: str = "accuracy",
    required: float | None = None,
    tuning: TuningCost | None = None,
    owner: str = "the data protection officer, with the owner of the model",
) -> Decision:
    """Choose a point of the curve: the smallest ε that is accurate enough, or the best accuracy within a cap on ε.

    Accuracy counts by a prediction bound for one deployed model (`Tradeoff.assured`), so a lucky seed decides nothing.
    Whoever chooses among several ε has several chances to be lucky: the bound holds for all of the curve's at once.
    A model that is not shown to be better than always answering the commonest class is never recommended: where one class
    is rare, accuracy says little; measure the curve by another ``metric`` and decide by that.

    Parameters
    ----------
    required_accuracy : float, optional
        Share in (0, 1) that the business needs.
    max_epsilon : float, optional
        Cap, such as a regulator's. It applies to the ε that includes ``tuning``.
        At least one of the two must be given; with both, the smallest ε within the cap that is accurate enough.
    metric, required : str, float
        Decide by another metric than accuracy, which the curve was measured by (``tradeoff(metrics=...)``): the value that the
        business needs takes the place of ``required_accuracy``.
    tuning : TuningCost, optional
        Runs on the same private records that the choice of settings took. Leave it out only when settings came from
        elsewhere (public or synthetic records).
    owner : str
        Who answers for the choice.

    Raises
    ------
    NoDecision
        If no ε of the curve qualifies, or none beats the majority answer; the message says by how much, and what would help.
    ValueError
        If a target is missing or out of range.
    """
    wanted = _wanted(metric, required_accuracy, required)
    _check_targets(metric, wanted, max_epsilon)
    return Choice(tradeoff, metrics.metric(metric), wanted, max_epsilon, tuning).decide(owner)


def _wanted(metric: str, required_accuracy: float | None, required: float | None) -> float | None:
    if required is not None and required_accuracy is not None:
        raise ValueError("got required_accuracy and required; give one: required is of metric=")
    if required_accuracy is not None and metric != "accuracy":
        raise ValueError(
            f"got required_accuracy and metric={metric!r}; pass required= for another metric than accuracy"
        )
    return required_accuracy if required is None else required


def _check_targets(metric: str, required: float | None, max_epsilon: float | None) -> None:
    name = "required_accuracy" if metric == "accuracy" else "required"
    if required is None and max_epsilon is None:
        raise ValueError(f"nothing to decide by: give {name}, max_epsilon or both")
    if required is not None and metrics.metric(metric).share and not 0 < required < 1:
        raise ValueError(f"{name} is {required}; expected a share between 0 and 1: 98% is 0.98")
    if max_epsilon is not None and not max_epsilon > 0:
        raise ValueError(f"max_epsilon is {max_epsilon}; expected a positive number")


@dataclass(frozen=True)
class Choice:
    """One question to a curve: see `decide`."""

    curve: Tradeoff
    metric: metrics.Metric
    required: float | None
    cap: float | None
    tuning: TuningCost | None

    @cached_property
    def statements(self) -> dict[float, PrivacyStatement]:
        """What each ε of the curve costs, tuning included."""
        from labkit.dp.accounting.statement import privacy_statement

        curve = self.curve
        return {
            e: privacy_statement(
                curve.at(e)[0].events, delta=curve.delta, n=curve.n_train, tuning=self.tuning
            )
            for e in curve.epsilons
        }

    @cached_property
    def bounds(self) -> dict[float, float]:
        """What one deployed model reaches at each ε, for all of them at once."""
        curve = self.curve
        return {
            e: curve.assured(e, among=len(curve.epsilons), metric=self.metric.name) for e in curve.epsilons
        }

    @cached_property
    def allowed(self) -> list[float]:
        """The ε within the cap."""
        return [e for e in self.curve.epsilons if self.cap is None or self.statements[e].epsilon <= self.cap]

    def best(self, epsilons: list[float]) -> float:
        """Return the ε with the best bound."""
        choose = max if self.metric.larger_is_better else min
        return choose(epsilons, key=self.bounds.__getitem__)

    def enough(self, value: float) -> bool:
        """Whether a value meets the target."""
        return self.required is None or value == self.required or self.metric.better(value, self.required)

    def decide(self, owner: str) -> Decision:
        """Return the decision, or raise `NoDecision`."""
        if not self.allowed:
            raise NoDecision(self._none_allowed())
        self._needs_no_private_record()
        enough = [e for e in self.allowed if self.enough(self.bounds[e])]
        if not enough:
            raise NoDecision(self._none_enough())
        chosen = self.best(enough) if self.required is None else min(enough)
        self._beats_what_needs_no_model(chosen)
        return self._decision(chosen, owner)

    def _needs_no_private_record(self) -> None:
        curve, prior = self.curve, self.curve.prior_accuracy
        if self.metric.name == "accuracy" and self.required is not None and prior.estimate >= self.required:
            raise NoDecision(
                f"{100 * self.required:g}% needs no private record: ε = 0 gives {prior.percent()} ({curve.known}). "
                "Use that, or ask for more"
            )

    def _beats_what_needs_no_model(self, chosen: float) -> None:
        """Refuse a model that is not shown to be better than the majority answer, or than what is known at ε = 0."""
        curve, bound, text = self.curve, self.bounds[chosen], self.metric.text
        majority = curve.majority(self.metric.name)
        if not math.isnan(majority) and not self.metric.better(bound, majority):
            at = "at least" if self.metric.larger_is_better else "at most"
            other = (
                " Where one class is rare, accuracy says little: measure tradeoff(metrics=['balanced accuracy', 'recall at 5% fpr'], "
                "settings={'class_weights': [0.05, 1]}) and decide by metric="
                if self.metric.name == "accuracy"
                else " A larger ε, class weights, more seeds or more records would help"
            )
            raise NoDecision(
                f"at ε = {chosen:g} a deployed model has {at} {text(bound)} {self.metric.name}; always answering {curve.commonest} "
                f"has {text(majority)}: the model is not shown to be better than the majority answer.{other}"
            )
        prior = curve.prior_accuracy
        if self.metric.name == "accuracy" and bound <= prior.estimate:
            raise NoDecision(
                f"at ε = {chosen:g} a deployed model has at least {100 * bound:.2f}%, no more than ε = 0 gives "
                f"({prior.percent()}, {curve.known}): private records are not shown to help. Allow a larger ε, or use none"
            )

    def _decision(self, chosen: float, owner: str) -> Decision:
        curve, name = self.curve, self.metric.name
        return Decision(
            epsilon=chosen,
            accuracy=curve.accuracy(chosen),
            assured=self.bounds[chosen],
            prior=curve.prior_accuracy,
            known=curve.known,
            question=self._question(),
            reason=self._reason(chosen),
            privacy=self.statements[chosen],
            source=curve.source,
            pipeline=curve.pipeline,
            profile=curve.profile,
            n_train=curve.n_train,
            n_test=curve.n_test,
            seeds=len(curve.at(chosen)),
            tuning=self._tuning(),
            owner=owner,
            considered=tuple((e, self._shown(e), self.bounds[e]) for e in curve.epsilons),
            metric=name,
            value=None if name == "accuracy" else curve.value(chosen, name),
            majority=self._majority(),
        )

    def _shown(self, epsilon: float) -> str:
        value = self.curve.value(epsilon, self.metric.name)
        return value.percent() if self.metric.share else str(value)

    def _majority(self) -> str:
        curve = self.curve
        if math.isnan(curve.base_rate):
            return ""
        figures = [
            f"{name} {metrics.metric(name).text(curve.majority(name))}"
            for name in ("accuracy", *curve.metrics)
        ]
        return f"always answering {curve.commonest} has {', '.join(figures)}"

    def _question(self) -> str:
        name = self.metric.name
        if self.required is None:
            return f"the best {name} within ε <= {self.cap:g}"
        within = f" within ε <= {self.cap:g}" if self.cap is not None else ""
        side = "at least" if self.metric.larger_is_better else "at most"
        return f"the smallest ε{within} whose assured {name} is {side} {self._target()}"

    def _target(self) -> str:
        return f"{100 * self.required:g}%" if self.metric.share else f"{self.required:g}"

    def _reason(self, chosen: float) -> str:
        name, text, bounds = self.metric.name, self.metric.text, self.bounds
        if self.required is None:
            most = "highest" if self.metric.larger_is_better else "lowest"
            return f"of the {len(self.allowed)} measured ε within the cap, its assured {name} is {most} ({text(bounds[chosen])})"
        below = [e for e in bounds if e < chosen]
        if not below:
            return f"assured {name} {text(bounds[chosen])}; it is the smallest ε measured, a smaller one might do"
        return f"assured {name} {text(bounds[chosen])}; the next smaller ε, {below[-1]:g}, gives {text(bounds[below[-1]])}"

    def _tuning(self) -> str:
        if self.tuning is None:
            return (
                "no run for settings on these records is counted, nor are the other runs of this curve; where there were "
                "any, the ε above is too small"
            )
        return f"{self.tuning.describe()}; the ε above includes them"

    def _none_allowed(self) -> str:
        statements, tuning = self.statements, self.tuning
        least = min(statements, key=lambda e: statements[e].epsilon)
        why = f" (trained at {least:g}; {tuning.describe()} for tuning make up the rest)" if tuning else ""
        return (
            f"no measured point keeps ε <= {self.cap:g}: the least is {statements[least].epsilon:.3g}{why}. "
            "Measure smaller ε" + (", or tune on public records, which costs nothing" if tuning else "")
        )

    def _none_enough(self) -> str:
        curve, name, text = self.curve, self.metric.name, self.metric.text
        best = self.best(self.allowed)
        mean = curve.value(best, name).estimate
        message = (
            f"assured {name} of {self._target()} is not reached: the best is {text(self.bounds[best])} at ε = {best:g} "
            f"(mean {text(mean)} over {len(curve.at(best))} seeds). "
        )
        if name == "accuracy":
            top = stats.mean_interval(curve.ceiling).estimate
            if top < self.required:
                return message + (
                    f"Even without privacy this pipeline reaches only {100 * top:.2f}%: no ε will do. "
                    "Better features, another model or more records would"
                )
        if self.enough(mean):
            return (
                message
                + "The mean is high enough: more seeds, more test records or fewer ε to choose from would raise the bound"
            )
        outside = [e for e in curve.epsilons if e not in self.allowed and self.enough(self.bounds[e])]
        if self.cap is not None and outside:
            return (
                message
                + f"A cap of ε = {min(outside):g} would allow it; so would better features or more records"
            )
        return message + "A larger ε (measure one), better features or more records would help"
