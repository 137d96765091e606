"""The court's verdicts: every suspect's case, the controls, and their picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.results import as_json, write_json
from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.stats import Interval
    from labkit.watermark.court.cases import Case
    from labkit.watermark.court.plan import Plan
    from labkit.watermark.fingerprints.evidence_line import Line
    from labkit.watermark.verification.verdict import Verdict

HEADS = {
    "mark": "mark",
    "mistakes": "shared\nmistakes",
    "agreement": "agreement",
    "inference": "dataset\ninference",
}
FULL = 12  # cells of p = 10^-12 and below have the darkest colour
FRAME = plots.COLOURS[1]
WORDS = {"derived": (FRAME, "white"), "not shown": ("white", "black"), "dismissed": ("#dddddd", "black")}


@dataclass(frozen=True, eq=False, repr=False)
class Verdicts:
    """All suspects, and the controls: see `try_suspects`.

    Attributes
    ----------
    cases : tuple of Case
    controls : tuple of Case
        Each claimant's own original, which the lines must speak against.
    false_claims : Interval
        Share of null models that the whole rule would convict, each against the others.
    threshold : float
        Alpha of one line against one suspect.
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
            return "no triggers" if line is None else f"{line.p_value:.2g}{' *' if line.decided else ''}"

        rows = [
            {"suspect": case.name, "accused by": case.claimant}
            | {name: cell(case, name) for name in self.plan.queries}
            | {"queries": case.queries, "verdict": case.verdict}
            for case in (*self.cases, *self.controls)
        ]
        return pd.DataFrame(rows).set_index("suspect")

    def by_line(self) -> dict[str, dict[str, Line | Verdict]]:
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
        """Return p-values, float64 (suspects, lines); NaN where a line could not be asked."""
        lines = self.plan.queries
        return np.array(
            [[case.lines[n].p_value if n in case.lines else np.nan for n in lines] for case in self.cases]
        )

    def plot(self, names: Mapping[str, str] | None = None) -> Figure:
        """Draw every suspect's p-values and verdict: see `labkit.watermark.court.verdicts.draw`."""
        return draw(self, names)

    def numbers(self) -> dict[str, Any]:
        """Return all findings as plain numbers and text, for JSON and for the evidence record."""

        def case_of(case: Case) -> dict[str, Any]:
            lines = {
                name: {"p_value": line.p_value, "rank_p_value": line.rank_p_value, "power": line.power}
                | {"decided": line.decided, "queries": line.queries}
                for name, line in case.lines.items()
            }
            return {"suspect": case.name, "claimant": case.claimant, "verdict": case.verdict, "lines": lines}

        return {
            "plan": asdict(self.plan),
            "plan_digest": self.plan.digest,
            "threshold": self.threshold,
            "null_models": self.null_models,
            "cases": [case_of(case) for case in self.cases],
            "controls": [case_of(case) for case in self.controls],
            "false_claims": as_json(self.false_claims),
            "source": self.source,
            "profile": self.profile,
            "seed": self.plan.seed,
        }

    def save(self, path: str | Path) -> Path:
        """Write the findings as JSON, atomically, and return the path."""
        return write_json(path, self.numbers())

    def __str__(self) -> str:
        where = (
            f"{self.source}; profile {self.profile}; seed {self.plan.seed}; {self.null_models} null models"
        )
        return "\n".join([f"{case.name}: {case.verdict}" for case in self.cases] + [f"[{where}]"])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return (
            f"<p><b>Verdicts</b> ({self.source}; profile {self.profile}; {self.null_models} null models, of which the "
            f"same rule convicts {self.false_claims.percent(0)}; threshold {self.threshold:.2g}, * below it)</p>"
            f"{self.table().to_html(border=0)}"
        )


def draw(verdicts: Verdicts, names: Mapping[str, str] | None = None) -> Figure:
    """Draw one row a suspect or control, one column a line of evidence: p-value (colour and number), then the verdict.

    A frame says that the line speaks against the suspect.

    Parameters
    ----------
    names : mapping of str to str, optional
        A second line under a suspect's name, such as the truth about it.
    """
    cases, lines = (*verdicts.cases, *verdicts.controls), list(verdicts.plan.queries)
    strength = np.array([[_strength(case, line) for line in lines] for case in cases])
    fig, ax = plots.figure(4.0 + 1.05 * len(lines), 1.55 + 0.56 * len(cases))
    ax.imshow(strength, cmap="Blues", vmin=0, vmax=1.15 * FULL, aspect="auto")
    ax.grid(False)
    for row, case in enumerate(cases):
        for column, line in enumerate(lines):
            _cell(ax, row, column, case, line, strength[row, column])
        word = _word(case)
        fill, ink = WORDS[word]
        box = {"boxstyle": "round,pad=0.35", "facecolor": fill, "edgecolor": "#888888"}
        place = (len(lines) - 0.4, row)
        ax.text(*place, word, va="center", color=ink, fontsize=11, fontweight="bold", bbox=box)
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


def _strength(case: Case, line: str) -> float:
    """Return -log10 p, at most `FULL`; NaN where the line was not asked."""
    found = case.lines.get(line)
    return np.nan if found is None else float(min(FULL, -np.log10(max(found.p_value, 1e-300))))


def _cell(ax: Axes, row: int, column: int, case: Case, line: str, strength: float) -> None:
    """Write the p-value, and frame it if the line speaks against the suspect."""
    from matplotlib.patches import Rectangle

    found = case.lines.get(line)
    if found is None:
        ax.text(column, row, "no triggers", ha="center", va="center", fontsize=8, color="#555555")
        return
    ink = "white" if strength > 0.6 * FULL else "black"
    text = short(found.p_value)
    ax.text(column, row, text, ha="center", va="center", fontsize=11, color=ink)
    if found.decided:
        edge = Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, fill=False, edgecolor=FRAME, lw=2.2)
        ax.add_patch(edge)


def short(p: float) -> str:
    """Return a p-value as a table shows it: two digits, or a power of ten."""
    if p >= 0.001:
        return f"{p:.2g}"
    return "< 1e-99" if p < 1e-99 else f"{p:.0e}".replace("e-0", "e-")


def _word(case: Case) -> str:
    return "dismissed" if case.problems else "derived" if case.derived else "not shown"


def _label(case: Case, names: Mapping[str, str]) -> str:
    if case.name in names:
        return f"{case.name}\n{textwrap.fill(names[case.name], 30)}"
    return case.name if case.claimant in case.name else f"{case.name}\naccused by {case.claimant}"


def _note(verdicts: Verdicts) -> str:
    few = "" if verdicts.null_models >= NULLS else f", a rehearsal: {NULLS} are needed for a verdict"
    return (
        f"framed: p < {verdicts.threshold:.1g}, above every null model; {verdicts.plan.needed} framed lines: derived\n"
        f"{verdicts.null_models} null models{few}; {verdicts.source}"
    )


def _alt(verdicts: Verdicts, cases: tuple[Case, ...], names: Mapping[str, str]) -> str:
    rows = []
    for case in cases:
        said = ", ".join(f"{name} {short(line.p_value)}" for name, line in case.lines.items())
        who = f"{case.name} ({names[case.name]})" if case.name in names else case.name
        rows.append(f"{who}: {said}: {_word(case)}")
    return f"Table of p-values by suspect and line of evidence ({verdicts.source}). {'; '.join(rows)}."
