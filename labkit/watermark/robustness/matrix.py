"""The robustness matrix as a result: cells, their summary over seeds, tables.

`labkit.watermark.robustness.measure` fills it.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots
from labkit.results import Result, as_json
from labkit.watermark.robustness.cells import ALLOWED, NONE, Cell, Pooled, best_dose
from labkit.watermark.verification import verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ("strength", "p-value", "accuracy lost", "verified", "beaten")


@dataclass(frozen=True, eq=False, repr=False)
class Matrix(Result):
    """What is left of each mark after each attack: see `robustness_matrix`."""

    cells: tuple[Cell, ...]
    alpha: float
    null_count: int
    source: str
    profile: str
    own: tuple[str, ...] = ()  # attacks that the caller carries out

    @property
    def schemes(self) -> list[str]:
        return list(dict.fromkeys(cell.scheme for cell in self.cells))

    @property
    def attacks(self) -> list[str]:
        """Columns, "none" first."""
        return list(dict.fromkeys(cell.attack for cell in self.cells))

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.seed for cell in self.cells})

    @property
    def note(self) -> str:
        """What the reader must know of this run."""
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        text = f"{self.source}; profile {self.profile}; {seeds}; "
        text += f"at least {self.null_count} null models, alpha = {self.alpha:g}"
        few = self.null_count < verify.NULLS
        return text + (f": a rehearsal, a claim needs {verify.NULLS} null models" if few else "")

    def pooled(self, scheme: str, attack: str) -> Pooled:
        """Return the cells of one scheme and attack, over seeds, each seed at the attacker's best dose.

        Raises
        ------
        ValueError
            If there are none.
        """
        cells = tuple(c for c in self.cells if (c.scheme, c.attack) == (scheme, attack))
        if not cells:
            raise ValueError(
                f"no cell for scheme {scheme!r} and attack {attack!r}; there are {', '.join(self.schemes)} and "
                f"{', '.join(self.attacks)}"
            )
        return Pooled(
            tuple(best_dose(c for c in cells if c.seed == seed) for seed in {c.seed: 0 for c in cells})
        )

    def verdict(self, scheme: str, attack: str) -> str:
        """Return `Pooled.verdict` over the seeds whose mark is verified before any attack; "absent" if there is none.

        What nobody could prove before an attack, no attack has beaten.
        """
        there = {cell.seed for cell in self.pooled(scheme, NONE).cells if cell.verified}
        cells = tuple(cell for cell in self.pooled(scheme, attack).cells if cell.seed in there)
        return Pooled(cells).verdict if cells else "absent"

    def under(self, attack: str, *verdicts: str) -> list[str]:
        """Return the schemes with one of these verdicts under an attack, such as ``under("prune", "beaten")``."""
        return [scheme for scheme in self.schemes if self.verdict(scheme, attack) in verdicts]

    def uncovered(self, *schemes: str) -> list[str]:
        """Return the attacks that take the marks of all these schemes within the price, such as ``("bits", "patch")``.

        None means that an owner who carries all of them could still prove one of them after each attack, or that the
        thief's model is worth little. A scheme that an attack takes in some seeds counts as taken, one whose mark was
        never there as taken by everything.

        Raises
        ------
        ValueError
            If no scheme is named, or one is unknown.
        """
        if not schemes or not set(schemes) <= set(self.schemes):
            raise ValueError(
                f"got schemes {', '.join(schemes) or '(none)'}; expected some of {', '.join(self.schemes)}"
            )
        tried = [attack for attack in self.attacks if attack != NONE]
        words = {attack: {self.verdict(scheme, attack) for scheme in schemes} for attack in tried}
        return [attack for attack in tried if not words[attack] & {"holds", "costly"}]

    def pairs(self) -> pd.DataFrame:
        """Return one row a pair of schemes, those that leave attackers least first: which attacks take both marks.

        Two columns: what takes both within the price, and what takes both at any price. A scheme that an attack takes in
        some seeds counts as taken. That two marks in one model do as well together as apart is not measured here.
        """
        import pandas as pd

        present = self.under(NONE, "holds")
        tried = [attack for attack in self.attacks if attack != NONE]
        rows = []
        for pair in combinations(present, 2):
            gone = [a for a in tried if "holds" not in {self.verdict(scheme, a) for scheme in pair}]
            cheap = self.uncovered(*pair)
            rows.append({"pair": " + ".join(pair), "both beaten by": cheap, "both gone under": gone})
        rows.sort(key=lambda row: (len(row["both beaten by"]), len(row["both gone under"])))
        named = [
            {name: value if isinstance(value, str) else ", ".join(value) for name, value in row.items()}
            for row in rows
        ]
        return pd.DataFrame(named, columns=["pair", "both beaten by", "both gone under"]).set_index("pair")

    def table(self) -> pd.DataFrame:
        """Return one row a scheme and attack: all `FIGURES`, with 95% intervals over seeds."""
        import pandas as pd

        rows = [
            {"scheme": scheme, "attack": attack}
            | {figure: self.pooled(scheme, attack).text(figure) for figure in FIGURES}
            for scheme in self.schemes
            for attack in self.attacks
        ]
        return pd.DataFrame(rows).set_index(["scheme", "attack"])

    def wide(self, figure: str = "strength") -> pd.DataFrame:
        """Return one of `FIGURES` as schemes x attacks.

        Raises
        ------
        ValueError
            If the figure is unknown.
        """
        if figure not in FIGURES:
            raise ValueError(f"figure {figure!r} is unknown; expected one of {', '.join(FIGURES)}")
        return self.table()[figure].unstack("attack").loc[self.schemes, self.attacks]

    def survivors(self) -> pd.DataFrame:
        """Return one row a scheme: which attacks beat it, in which seeds differ, which take it too dearly, and which leave it.

        An attack that takes the mark and too much accuracy with it has not beaten the scheme, nor has the mark survived
        it. A scheme whose mark is not verified before any attack has an empty row.
        """
        import pandas as pd

        columns = {
            "beaten by": "beaten",
            "seeds differ": "differ",
            "gone at too high a price": "costly",
            "holds under": "holds",
        }
        tried = [attack for attack in self.attacks if attack != NONE]
        rows = [
            {"scheme": scheme}
            | {
                name: ", ".join(attack for attack in tried if self.verdict(scheme, attack) == word)
                for name, word in columns.items()
            }
            for scheme in self.schemes
        ]
        return pd.DataFrame(rows).set_index("scheme")

    def attackers(self) -> pd.DataFrame:
        """Return one row an attack: which schemes it beats, and what that costs: accuracy and seconds, mean over models.

        All of a row is of the dose that the attacker would choose for each model (`best_dose`): the dose that beats is the
        dose that costs. Seconds leave out what the caller's own part of an attack takes, and say so.
        """
        import pandas as pd

        rows = []
        for attack in self.attacks:
            cells = [cell for scheme in self.schemes for cell in self.pooled(scheme, attack).cells]
            first = attack.partition(" + ")[0]
            seconds = f"{sum(c.seconds for c in cells) / len(cells):.1f}"
            rows.append(
                {
                    "attack": attack,
                    "beats": ", ".join(self.under(attack, "beaten")),
                    "seeds differ": ", ".join(self.under(attack, "differ")),
                    "accuracy lost (points)": round(100 * sum(c.lost for c in cells) / len(cells), 1) + 0.0,
                    "seconds a model": f"{seconds} ({first} itself not counted)"
                    if first in self.own
                    else seconds,
                }
            )
        return pd.DataFrame(rows).set_index("attack").drop(NONE, errors="ignore")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the heat map: see `labkit.watermark.robustness.matrix.draw`."""
        return draw(self, ax)

    def numbers(self) -> dict[str, Any]:
        """Return all cells as plain numbers and text, for JSON."""
        cells = [
            {
                "scheme": cell.scheme,
                "attack": cell.attack,
                "dose": cell.dose,
                "seed": cell.seed,
                "strength": as_json(cell.strength),
                "p_value": cell.p_value,
                "verified": cell.verified,
                "accuracy": as_json(cell.accuracy),
                "accuracy_lost": cell.lost,
                "beaten": cell.beaten,
                "seconds": cell.seconds,
            }
            for cell in self.cells
        ]
        return {
            "source": self.source,
            "profile": self.profile,
            "alpha": self.alpha,
            "null_models": self.null_count,
            "accuracy_allowed_to_lose": ALLOWED,
            "cells": cells,
        }

    def summary(self) -> str:
        """Return one line: what was tried, and where it comes from."""
        tried = len(self.attacks) - (NONE in self.attacks)
        return f"{len(self.schemes)} schemes, {tried} attacks ({self.note})"


FRAME = plots.COLOURS[1]
FRAMES = {"beaten": "-", "differ": "--", "costly": ":"}


def draw(matrix: Matrix, ax: Axes | None = None) -> Figure:
    """Draw one cell a scheme and attack: the mark's mean strength (colour and number), change of accuracy, verdict.

    Each is that of the attacker's best dose.

    A frame says that the attack beat the mark, a dashed one that seeds differ, a dotted one that it cost too much; each
    cell says the same in a word, so that nothing hangs on colour.
    """
    from matplotlib.patches import Rectangle

    schemes, attacks = matrix.schemes, matrix.attacks
    cells = [[matrix.pooled(scheme, attack) for attack in attacks] for scheme in schemes]
    strength = np.array([[cell.strength.estimate for cell in row] for row in cells])
    width = max(7.6, 1.6 + 0.78 * len(attacks))
    fig, ax = plots.figure(width, 1.5 + 0.62 * len(schemes)) if ax is None else (ax.figure, ax)
    # Cividis is read alike with and without colour blindness (Nunez et al. 2018).
    image = ax.imshow(100 * strength, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    ax.grid(False)
    for row, scheme in enumerate(cells):
        for column, cell in enumerate(scheme):
            light = strength[row, column] > 0.55
            change = round(-100 * cell.lost.estimate, 1) + 0.0  # no minus zero
            word = matrix.verdict(schemes[row], attacks[column])
            label = f"{100 * strength[row, column]:.0f}%\n{change:+.1f}\n{word}"
            colour = "black" if light else "white"
            ax.text(column, row, label, ha="center", va="center", fontsize=7.5, color=colour)
            if word in FRAMES:
                place, look = (column - 0.46, row - 0.46), {"edgecolor": FRAME, "lw": 2, "ls": FRAMES[word]}
                ax.add_patch(Rectangle(place, 0.92, 0.92, fill=False, **look))
    ax.set_xticks(range(len(attacks)), [name.replace(" ", "\n") for name in attacks], fontsize=8)
    ax.set_yticks(range(len(schemes)), schemes, fontsize=9)
    ax.tick_params(length=0)
    ax.set_title("What attacks leave of marks: strength, change of accuracy (points), verdict", fontsize=10)
    ax.set_xlabel(textwrap.fill(matrix.note, int(13 * width)), fontsize=8)
    fig.colorbar(image, ax=ax, label="mark strength (%)", fraction=0.03)
    return plots.describe(fig, _alt(matrix, cells))


def _alt(matrix: Matrix, cells: list[list[Pooled]]) -> str:
    rows = [
        f"{scheme}: "
        + ", ".join(
            f"{attack} {100 * cell.strength.estimate:.0f}% ({matrix.verdict(scheme, attack)})"
            for attack, cell in zip(matrix.attacks, row, strict=True)
        )
        for scheme, row in zip(matrix.schemes, cells, strict=True)
    ]
    return f"Heat map of mark strength by scheme and attack ({matrix.note}). " + "; ".join(rows) + "."
