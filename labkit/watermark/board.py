"""The court's verdicts as a picture: who is accused, what each line of evidence says, and what follows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from labkit import plots
from labkit.watermark.verdict import NULLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.watermark.cases import Case
    from labkit.watermark.court import Verdicts

HEADS = {
    "mark": "mark",
    "mistakes": "shared\nmistakes",
    "agreement": "agreement",
    "inference": "dataset\ninference",
}
FULL = 12  # cells of p = 10^-12 and below have the darkest colour
FRAME = plots.COLOURS[1]
WORDS = {"derived": (FRAME, "white"), "not shown": ("white", "black"), "dismissed": ("#dddddd", "black")}


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
