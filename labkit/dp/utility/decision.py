"""Choose ε for a business target, and write down why, so that somebody else can check it."""

from __future__ import annotations

import datetime
import html
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, stats
from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd

    from labkit.dp.accounting.statement import PrivacyStatement, TuningCost
    from labkit.dp.utility.tradeoff import Tradeoff


class NoDecision(ValueError):  # noqa: N818 (it is an answer, not a fault)
    """No ε of the curve meets what was asked; the message says what would."""


@dataclass(frozen=True, repr=False)
class Decision(Result):
    """A chosen ε with all that it rests on: see `decide`.

    Attributes
    ----------
    epsilon : float
        Of the training run, as on the curve. `privacy` has the figure with tuning.
    accuracy : Interval
        Mean over seeds, with its interval.
    assured : float
        Accuracy that one deployed model has with 95% confidence, the choice among all ε of the curve counted.
    prior : Interval
        Accuracy at ε = 0, without a private record.
    known : str
        What that uses.
    question, reason : str
    privacy : PrivacyStatement
    source, pipeline, profile : str
    n_train, n_test, seeds : int
    tuning : str
        How the settings were found, and whether ``privacy`` counts it.
    owner : str
        Who answers for the choice of ε.
    considered : tuple of (float, str, float)
        Each ε of the curve with its accuracy and the bound.
    date : str
    """

    epsilon: float
    accuracy: stats.Interval
    assured: float
    prior: stats.Interval
    known: str
    question: str
    reason: str
    privacy: PrivacyStatement
    source: str
    pipeline: str
    profile: str
    n_train: int
    n_test: int
    seeds: int
    tuning: str
    owner: str
    considered: tuple[tuple[float, str, float], ...] = field(repr=False)
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def facts(self) -> dict[str, str]:
        """Return the record, one named fact after the other."""
        return {
            "Decision": f"train at ε = {self.epsilon:g}",
            "Question": self.question,
            "Reason": self.reason,
            "Privacy": str(self.privacy),
            "Meaning": _meaning(self.privacy.epsilon, self.privacy.delta),
            "Accuracy": f"{self.accuracy.percent()} (mean over {self.seeds} runs, {self.accuracy.method}, 95%)",
            "Assured accuracy": (
                f"{100 * self.assured:.2f}% (one deployed model, 95% prediction bound over runs and {self.n_test:,} test "
                f"records, for {len(self.considered)} measured ε at once)"
            ),
            "Without any private record": f"ε = 0 gives {self.prior.percent()} ({self.known})",
            "Data": f"{self.source}; {self.n_train:,} train records",
            "Pipeline": f"{self.pipeline}, profile {self.profile}, {self.seeds} seeds",
            "Tuning": self.tuning,
            "Who decides": f"{self.owner}. Engineers measure the curve; choosing a point on it is not a technical question.",
            "Date": self.date,
        }

    def numbers(self) -> dict[str, Any]:
        """Return the record and its figures as plain numbers and text."""
        figures = {"epsilon": self.epsilon, "claimed_epsilon": self.privacy.epsilon, "assured": self.assured}
        figures |= {"accuracy": as_json(self.accuracy), "prior": as_json(self.prior), "seeds": self.seeds}
        considered = [{"epsilon": e, "accuracy": a, "assured": b} for e, a, b in self.considered]
        return figures | {"considered": considered, "record": self.facts()}

    def summary(self) -> str:
        """Return the record, one fact a line."""
        return str(self)

    def table(self) -> pd.DataFrame:
        """Return every ε that was considered."""
        import pandas as pd

        rows = [
            {
                "ε": e,
                "accuracy": a,
                "assured": f"{100 * b:.2f}%",
                "chosen": "yes" if e == self.epsilon else "",
            }
            for e, a, b in self.considered
        ]
        return pd.DataFrame(rows).set_index("ε")

    def markdown(self) -> str:
        """Return the record as a Markdown page."""
        lines = ["# Privacy budget: decision record", ""]
        lines += [f"**{name}.** {text}\n" for name, text in self.facts().items()]
        lines += ["| ε | accuracy | assured | |", "|---|---|---|---|"]
        lines += [
            f"| {e:g} | {a} | {100 * b:.2f}% | {'chosen' if e == self.epsilon else ''} |"
            for e, a, b in self.considered
        ]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.facts().items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.facts().items()
        )
        return f"<table><caption>Privacy budget: decision record</caption><tbody>{rows}</tbody></table>"

    def save(self, path: str | Path) -> Path:
        """Write the record; the ending chooses the form: ``.md``, ``.html``, ``.txt``, or as every result's.

        Raises
        ------
        OSError
            If the file cannot be written; the message names the fix.
        """
        page = "<!doctype html><html lang='en'><meta charset='utf-8'><title>Privacy budget: decision record</title>"
        forms = {
            ".md": self.markdown,
            ".txt": lambda: f"{self}\n",
            ".html": lambda: page + self._repr_html_(),
        }
        if (suffix := Path(path).suffix) not in forms:
            return super().save(path)
        with cache.atomic_path(path) as temporary:
            temporary.write_text(forms[suffix](), encoding="utf-8")
        return Path(path)


def _meaning(epsilon: float, delta: float) -> str:
    """Say what ε bounds, in terms of an attacker who may be wrong once in a hundred."""
    from labkit.dp.accounting.statement import roc_ceiling

    caught = float(roc_ceiling([0.01], epsilon, delta)[0])
    return (
        "an attacker who wrongly accuses 1% of outsiders recognises at most "
        f"{math.ceil(1000 * caught) / 10:.1f}% of those who are in the training data"
    )


def decide(
    tradeoff: Tradeoff,
    *,
    required_accuracy: float | None = None,
    max_epsilon: float | None = None,
    tuning: TuningCost | None = None,
    owner: str = "the data protection officer, with the owner of the model",
) -> Decision:
    """Choose a point of the curve: the smallest ε that is accurate enough, or the best accuracy within a cap on ε.

    Accuracy counts by a prediction bound for one deployed model (`Tradeoff.assured`), so a lucky seed decides nothing.
    Whoever chooses among several ε has several chances to be lucky: the bound holds for all of the curve's at once.

    Parameters
    ----------
    required_accuracy : float, optional
        Share in (0, 1) that the business needs.
    max_epsilon : float, optional
        Cap, such as a regulator's. It applies to the ε that includes ``tuning``.
        At least one of the two must be given; with both, the smallest ε within the cap that is accurate enough.
    tuning : TuningCost, optional
        Runs on the same private records that the choice of settings took. Leave it out only when settings came from
        elsewhere (public or synthetic records).
    owner : str
        Who answers for the choice.

    Raises
    ------
    NoDecision
        If no ε of the curve qualifies; the message says by how much, and what would help.
    ValueError
        If a target is missing or out of range.
    """
    _check_targets(required_accuracy, max_epsilon)
    statements = {e: _statement(tradeoff, e, tuning) for e in tradeoff.epsilons}
    allowed = [e for e in tradeoff.epsilons if max_epsilon is None or statements[e].epsilon <= max_epsilon]
    if not allowed:
        raise NoDecision(_none_allowed(statements, max_epsilon, tuning))
    bounds = {e: tradeoff.assured(e, among=len(tradeoff.epsilons)) for e in tradeoff.epsilons}
    prior = tradeoff.prior_accuracy
    if required_accuracy is not None and prior.estimate >= required_accuracy:
        raise NoDecision(
            f"{100 * required_accuracy:g}% needs no private record: ε = 0 gives {prior.percent()} ({tradeoff.known}). "
            "Use that, or ask for more"
        )
    enough = [e for e in allowed if required_accuracy is None or bounds[e] >= required_accuracy]
    if not enough:
        raise NoDecision(_none_enough(tradeoff, bounds, allowed, required_accuracy, max_epsilon))
    chosen = max(enough, key=bounds.__getitem__) if required_accuracy is None else min(enough)
    if bounds[chosen] <= prior.estimate:
        raise NoDecision(
            f"at ε = {chosen:g} a deployed model has at least {100 * bounds[chosen]:.2f}%, no more than ε = 0 gives "
            f"({prior.percent()}, {tradeoff.known}): private records are not shown to help. Allow a larger ε, or use none"
        )
    return Decision(
        epsilon=chosen,
        accuracy=tradeoff.accuracy(chosen),
        assured=bounds[chosen],
        prior=prior,
        known=tradeoff.known,
        question=_question(required_accuracy, max_epsilon),
        reason=_reason(bounds, chosen, allowed, required_accuracy),
        privacy=statements[chosen],
        source=tradeoff.source,
        pipeline=tradeoff.pipeline,
        profile=tradeoff.profile,
        n_train=tradeoff.n_train,
        n_test=tradeoff.n_test,
        seeds=len(tradeoff.at(chosen)),
        tuning=_tuning(tuning),
        owner=owner,
        considered=tuple((e, tradeoff.accuracy(e).percent(), bounds[e]) for e in tradeoff.epsilons),
    )


def _check_targets(required_accuracy: float | None, max_epsilon: float | None) -> None:
    if required_accuracy is None and max_epsilon is None:
        raise ValueError("nothing to decide by: give required_accuracy, max_epsilon or both")
    if required_accuracy is not None and not 0 < required_accuracy < 1:
        raise ValueError(
            f"required_accuracy is {required_accuracy}; expected a share between 0 and 1: 98% is 0.98"
        )
    if max_epsilon is not None and not max_epsilon > 0:
        raise ValueError(f"max_epsilon is {max_epsilon}; expected a positive number")


def _statement(tradeoff: Tradeoff, epsilon: float, tuning: TuningCost | None) -> PrivacyStatement:
    from labkit.dp.accounting.statement import privacy_statement

    return privacy_statement(
        tradeoff.at(epsilon)[0].events, delta=tradeoff.delta, n=tradeoff.n_train, tuning=tuning
    )


def _question(required_accuracy: float | None, max_epsilon: float | None) -> str:
    if required_accuracy is None:
        return f"the best accuracy within ε <= {max_epsilon:g}"
    cap = f" within ε <= {max_epsilon:g}" if max_epsilon is not None else ""
    return f"the smallest ε{cap} whose assured accuracy is at least {100 * required_accuracy:g}%"


def _reason(bounds: dict[float, float], chosen: float, allowed: list[float], required: float | None) -> str:
    bound = f"{100 * bounds[chosen]:.2f}%"
    if required is None:
        return f"of the {len(allowed)} measured ε within the cap, its assured accuracy is highest ({bound})"
    below = [e for e in bounds if e < chosen]
    if not below:
        return f"assured accuracy {bound}; it is the smallest ε measured, a smaller one might do"
    return (
        f"assured accuracy {bound}; the next smaller ε, {below[-1]:g}, gives {100 * bounds[below[-1]]:.2f}%"
    )


def _tuning(tuning: TuningCost | None) -> str:
    if tuning is None:
        return (
            "no run for settings on these records is counted, nor are the other runs of this curve; where there were "
            "any, the ε above is too small"
        )
    return f"{tuning.describe()}; the ε above includes them"


def _none_allowed(statements: dict[float, PrivacyStatement], cap: float, tuning: TuningCost | None) -> str:
    least = min(statements, key=lambda e: statements[e].epsilon)
    why = f" (trained at {least:g}; {tuning.describe()} for tuning make up the rest)" if tuning else ""
    return (
        f"no measured point keeps ε <= {cap:g}: the least is {statements[least].epsilon:.3g}{why}. "
        "Measure smaller ε" + (", or tune on public records, which costs nothing" if tuning else "")
    )


def _none_enough(
    tradeoff: Tradeoff, bounds: dict[float, float], allowed: list[float], required: float, cap: float | None
) -> str:
    best = max(allowed, key=bounds.__getitem__)
    mean, bound = tradeoff.accuracy(best).estimate, bounds[best]
    message = (
        f"assured accuracy of {100 * required:g}% is not reached: the best is {100 * bound:.2f}% at ε = {best:g} "
        f"(mean {100 * mean:.2f}% over {len(tradeoff.at(best))} seeds). "
    )
    top = stats.mean_interval(tradeoff.ceiling).estimate
    if top < required:
        return message + (
            f"Even without privacy this pipeline reaches only {100 * top:.2f}%: no ε will do. "
            "Better features, another model or more records would"
        )
    if mean >= required:
        return (
            message
            + "The mean is high enough: more seeds, more test records or fewer ε to choose from would raise the bound"
        )
    outside = [e for e in tradeoff.epsilons if e not in allowed and bounds[e] >= required]
    if cap is not None and outside:
        return (
            message
            + f"A cap of ε = {min(outside):g} would allow it; so would better features or more records"
        )
    return message + "A larger ε (measure one), better features or more records would help"
