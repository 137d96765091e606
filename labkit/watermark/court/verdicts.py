"""The court's verdicts: every suspect's case, the controls, and their picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.results import Result, as_json
from labkit.stats import EXACT, SUPPORTED, p_text
from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.stats import Interval
    from labkit.watermark.court.cases import Case
    from labkit.watermark.court.plan import Plan
    from labkit.watermark.fingerprints.evidence_line import Line

HEADS = {
    "mark": "mark",
    "mistakes": "shared\nmistakes",
    "agreement": "agreement",
    "inference": "dataset\ninference",
}
FRAME = plots.COLOURS[1]
PLAIN = ("white", "black")
WORDS = {"derived": (FRAME, "white"), "related": ("#f3d9c9", "black"), "dismissed": ("#dddddd", "black")}


@dataclass(frozen=True, eq=False, repr=False)
class Verdicts(Result):
    """All suspects, and the controls: see `labkit.watermark.court.trial.open_trial`.

    Attributes
    ----------
    plan : Plan
        With what it was bound to.
    cases : tuple of Case
    controls : tuple of Case
        Each claimant's own original, which the lines must speak against.
    false_claims : Interval
        Share of null models, each tried against the others, that the whole rule would convict on any claim:
        Clopper-Pearson over the null models.
    threshold : float
        Alpha of one line with a direction against one suspect.
    """

    plan: Plan
    cases: tuple[Case, ...]
    controls: tuple[Case, ...]
    false_claims: Interval
    threshold: float
    null_models: int
    source: str
    profile: str

    def __getitem__(self, name: str) -> Case:
        """Return a suspect's case by name."""
        return {case.name: case for case in self.cases}[name]

    def answers(self) -> dict[str, bool]:
        """Return, for each suspect, whether it counts as derived."""
        return {case.name: case.derived for case in self.cases}

    def table(self) -> pd.DataFrame:
        """Return one row a suspect and control: p-values (an asterisk where the line speaks against it) and verdict."""
        import pandas as pd

        def cell(case: Case, name: str) -> str:
            line = case.lines.get(name)
            return "not asked" if line is None else f"{shown(line)}{' *' if line.decided else ''}"

        rows = [
            {"suspect": case.name, "accused by": case.claimant}
            | {name: cell(case, name) for name in self.plan.queries}
            | {"queries": case.queries, "verdict": case.verdict, "findings": "; ".join(case.findings)}
            for case in (*self.cases, *self.controls)
        ]
        return pd.DataFrame(rows).set_index("suspect")

    def by_line(self) -> dict[str, dict[str, Line]]:
        """Return, for each line of evidence that is a share of records, each suspect's result."""
        found = {
            name: {c.name: c.lines[name] for c in self.cases if name in c.lines} for name in self.plan.queries
        }
        return {
            name: lines
            for name, lines in found.items()
            if lines and all(line.hit is not None for line in lines.values())
        }

    def p_values(self) -> np.ndarray:
        """Return p-values, float64 (suspects, lines): exact where there are such; NaN where a line was not asked."""
        lines = self.plan.queries
        return np.array(
            [[case.lines[n].p_value if n in case.lines else np.nan for n in lines] for case in self.cases]
        )

    def speaks(self) -> np.ndarray:
        """Return which lines speak against which suspect, bool (suspects, lines)."""
        return np.array([[name in case.speaking for name in self.plan.queries] for case in self.cases])

    def plot(self, ax: Axes | None = None, *, names: Mapping[str, str] | None = None) -> Figure:
        """Draw every suspect's p-values and verdict: see `draw`."""
        return draw(self, names, ax)

    def numbers(self) -> dict[str, Any]:
        """Return all findings as plain numbers and text, for JSON and for the evidence record."""
        return {
            "plan": as_json(asdict(self.plan)),
            "plan_digest": self.plan.digest,
            "threshold": self.threshold,
            "null_models": self.null_models,
            "cases": [as_json(case.numbers()) for case in self.cases],
            "controls": [as_json(case.numbers()) for case in self.controls],
            "false_claims": as_json(self.false_claims),
            "source": self.source,
            "profile": self.profile,
            "seed": self.plan.seed,
        }

    def summary(self) -> str:
        """Return one line a suspect, and what it rests on."""
        where = (
            f"{self.source}; profile {self.profile}; seed {self.plan.seed}; {self.null_models} null models, of which "
            f"the same rule convicts {self.false_claims.percent(0)}; threshold {self.threshold:.2g}"
        )
        return "\n".join([*(repr(case) for case in self.cases), f"[{where}]"])

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return (
            f"<p><b>Verdicts</b> ({self.source}; profile {self.profile}; {self.null_models} null models, of which the "
            f"same rule convicts {self.false_claims.percent(0)}; threshold {self.threshold:.2g}, * at or below it; p-values "
            "of mark and inference are exact, the others model-based)</p>"
            f"{self.table().to_html(border=0)}"
        )


def shown(line: Line) -> str:
    """Return a line's p-value as a table shows it: no more digits than what it rests on supports."""
    return short(line.p_value, exact=line.exact_p is not None)


def short(p: float, *, exact: bool = False) -> str:
    """Return a p-value as a table shows it: two digits, or a power of ten; none below what it supports.

    Examples
    --------
    >>> short(0.034), short(3e-60), short(0.0005, exact=True)
    ('0.034', '< 1e-6', '5e-4')
    """
    least = EXACT if exact else SUPPORTED
    text = f"{p:.0e}" if least <= p < 0.001 else p_text(p, least)
    return text.replace("e-0", "e-")


def draw(verdicts: Verdicts, names: Mapping[str, str] | None = None, ax: Axes | None = None) -> Figure:
    """Draw one row a suspect or control, one column a line of evidence: p-value (colour and number), then the verdict.

    A frame says that the line speaks against the suspect; the darker, the closer p comes to the threshold.

    Parameters
    ----------
    names : mapping of str to str, optional
        A second line under a suspect's name, such as the truth about it.
    """
    cases, lines = (*verdicts.cases, *verdicts.controls), list(verdicts.plan.queries)
    strength = np.array([[_strength(case, line, verdicts.threshold) for line in lines] for case in cases])
    size = (4.0 + 1.05 * len(lines), 1.55 + 0.56 * len(cases))
    fig, ax = plots.figure(*size) if ax is None else (ax.figure, ax)
    ax.imshow(strength, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    ax.grid(False)
    for row, case in enumerate(cases):
        for column, line in enumerate(lines):
            _cell(ax, row, column, case, line, strength[row, column])
        fill, ink = WORDS.get(case.outcome, PLAIN)
        box = {"boxstyle": "round,pad=0.35", "facecolor": fill, "edgecolor": "#888888"}
        place = (len(lines) - 0.4, row)
        ax.text(*place, case.outcome, va="center", color=ink, fontsize=11, fontweight="bold", bbox=box)
    ax.axhline(len(verdicts.cases) - 0.5, color="black", linewidth=1.2)
    ax.set_xticks(range(len(lines)), [HEADS[line] for line in lines], fontsize=10)
    ax.xaxis.tick_top()
    names = names or {}
    ax.set_yticks(range(len(cases)), [_label(case, names) for case in cases], fontsize=9)
    ax.tick_params(length=0)
    ax.set_xlim(-0.5, len(lines) + 0.85)
    for spine in ax.spines.values():
        spine.set_visible(False)
    fig.suptitle("The ownership court: p-values, and verdicts", fontsize=12, x=0.01, ha="left")
    fig.supxlabel(_note(verdicts), fontsize=8, x=0.01, ha="left")
    return plots.describe(fig, _alt(verdicts, cases, names))


def _strength(case: Case, line: str, threshold: float) -> float:
    """Return how far p is on its way to the threshold, in powers of ten, at most 1; NaN where it was not asked."""
    found = case.lines.get(line)
    if found is None:
        return np.nan
    return float(min(1.0, np.log10(max(found.p_value, 1e-300)) / np.log10(threshold)))


def _cell(ax: Axes, row: int, column: int, case: Case, line: str, strength: float) -> None:
    """Write the p-value, and frame it if the line speaks against the suspect."""
    from matplotlib.patches import Rectangle

    found = case.lines.get(line)
    if found is None:
        ax.text(column, row, "not asked", ha="center", va="center", fontsize=8, color="#555555")
        return
    ink = "white" if strength > 0.6 else "black"
    ax.text(column, row, shown(found), ha="center", va="center", fontsize=11, color=ink)
    if found.decided:
        edge = Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, edgecolor=FRAME, lw=2.2)
        ax.add_patch(edge)


def _label(case: Case, names: Mapping[str, str]) -> str:
    if case.name in names:
        return f"{case.name}\n{textwrap.fill(names[case.name], 30)}"
    return case.name if case.claimant in case.name else f"{case.name}\naccused by {case.claimant}"


def _note(verdicts: Verdicts) -> str:
    few = "" if verdicts.null_models >= NULLS else f", a rehearsal: {NULLS} are needed for a verdict"
    return (
        f"framed: p at most {verdicts.threshold:.1g}, above every null model; {verdicts.plan.needed} framed lines, one of "
        "them mark or inference: derived\n"
        f"p: mark by re-drawn keys, inference by permuted records, others model-based; {verdicts.null_models} null "
        f"models{few}; {verdicts.source}"
    )


def _alt(verdicts: Verdicts, cases: tuple[Case, ...], names: Mapping[str, str]) -> str:
    rows = []
    for case in cases:
        said = ", ".join(f"{name} {shown(line)}" for name, line in case.lines.items())
        who = f"{case.name} ({names[case.name]})" if case.name in names else case.name
        rows.append(f"{who}: {said}: {case.outcome}")
    return f"Table of p-values by suspect and line of evidence ({verdicts.source}). {'; '.join(rows)}."
