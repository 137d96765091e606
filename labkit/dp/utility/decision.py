"""Choose ε for a business target, and write down why, so that somebody else can check it."""

from __future__ import annotations

import datetime
import html
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import cache, stats
from labkit.metrics import metric
from labkit.results import Result, as_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.dp.accounting.statement import PrivacyStatement


class NoDecision(ValueError):  # noqa: N818 (it is an answer, not a fault)
    """No ε of the curve meets what was asked; the message says what would."""


@dataclass(frozen=True, repr=False)
class Decision(Result):
    """A chosen ε with all that it rests on: see `labkit.dp.utility.choice.decide`.

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
    metric, value : str, Interval
        What was decided by, and its mean over seeds; ``assured`` is of it.
    majority : str
        What always answering the commonest class scores, in each metric that was measured.
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
    metric: str = "accuracy"
    value: stats.Interval | None = None
    majority: str = ""

    def facts(self) -> dict[str, str]:
        """Return the record, one named fact after the other."""
        return {
            "Decision": f"train at ε = {self.epsilon:g}",
            "Question": self.question,
            "Reason": self.reason,
            "Privacy": str(self.privacy),
            "Meaning": _meaning(self.privacy.epsilon, self.privacy.delta),
            "Accuracy": f"{self.accuracy.percent()} (mean over {self.seeds} runs, {self.accuracy.method}, 95%)",
            **({} if self.value is None else {self.metric.capitalize(): self._text(self.value)}),
            **({"Majority answer": self.majority} if self.majority else {}),
            f"Assured {self.metric}": (
                f"{metric(self.metric).text(self.assured)} (one deployed model, 95% prediction bound over runs and {self.n_test:,} test "
                f"records, for {len(self.considered)} measured ε at once)"
            ),
            "Without any private record": f"ε = 0 gives {self.prior.percent()} ({self.known})",
            "Data": f"{self.source}; {self.n_train:,} train records",
            "Pipeline": f"{self.pipeline}, profile {self.profile}, {self.seeds} seeds",
            "Tuning": self.tuning,
            "Who decides": f"{self.owner}. Engineers measure the curve; choosing a point on it is not a technical question.",
            "Date": self.date,
        }

    def _text(self, value: stats.Interval) -> str:
        shown = value.percent() if metric(self.metric).share else str(value)
        return f"{shown} (mean over {self.seeds} runs, {value.method}, 95%)"

    def numbers(self) -> dict[str, Any]:
        """Return the record and its figures as plain numbers and text."""
        figures = {"epsilon": self.epsilon, "claimed_epsilon": self.privacy.epsilon, "assured": self.assured}
        figures |= {"metric": self.metric, "majority": self.majority}
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
                self.metric: a,
                "assured": metric(self.metric).text(b),
                "chosen": "yes" if e == self.epsilon else "",
            }
            for e, a, b in self.considered
        ]
        return pd.DataFrame(rows).set_index("ε")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw what one deployed model reaches at every ε that was considered, and which was chosen."""
        from labkit import plots

        fig, ax = plots.figure(6, 3.8) if ax is None else (ax.figure, ax)
        scale = 100 if metric(self.metric).share else 1
        epsilons, bounds = [e for e, _, _ in self.considered], [scale * b for _, _, b in self.considered]
        ax.plot(epsilons, bounds, marker="o", color=plots.COLOURS[0], label=f"assured {self.metric}")
        ax.plot(
            self.epsilon,
            scale * self.assured,
            "s",
            color=plots.COLOURS[1],
            label=f"chosen: ε = {self.epsilon:g}",
        )
        plots.epsilon_axis(ax, "ε (PLD), smaller is more private")
        ax.set(ylabel=f"assured {self.metric}" + (" (%)" if scale == 100 else ""), title=self.question)
        ax.legend()
        return plots.describe(
            fig, f"Assured {self.metric} at each ε considered; {self.epsilon:g} was chosen: {self.reason}."
        )

    def markdown(self) -> str:
        """Return the record as a Markdown page."""
        lines = ["# Privacy budget: decision record", ""]
        lines += [f"**{name}.** {text}\n" for name, text in self.facts().items()]
        lines += [f"| ε | {self.metric} | assured | |", "|---|---|---|---|"]
        lines += [
            f"| {e:g} | {a} | {metric(self.metric).text(b)} | {'chosen' if e == self.epsilon else ''} |"
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
