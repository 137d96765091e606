"""The robustness matrix as a result: cells, their summary over seeds, tables.

`labkit.watermark.matrix` fills it, `labkit.watermark.heatmap` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import stats
from labkit.membership.reports import as_json, write_json
from labkit.watermark import verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NONE = "none"  # the column of models that nobody attacked
ALLOWED = 0.05  # accuracy that an attack may cost
FIGURES = ("strength", "p-value", "accuracy lost", "verified", "beaten")


@dataclass(frozen=True)
class Cell:
    """One marked model after one attack.

    Attributes
    ----------
    strength : Interval
        Share of triggers (or bits) that still answer as marked, Clopper-Pearson.
    p_value : float
        See `labkit.watermark.verify.Verdict`.
    verified : bool
        Whether it is below alpha.
    accuracy : Interval
        On the test records.
    lost : float
        Accuracy of the marked model before the attack, less that after it, on the same records.
    seconds : float
        Of the attack, when it was made.
    """

    scheme: str
    attack: str
    seed: int
    strength: stats.Interval
    p_value: float
    verified: bool
    accuracy: stats.Interval
    lost: float
    seconds: float

    @property
    def beaten(self) -> bool:
        """Whether an attack succeeded: mark not verified, at most five points of accuracy lost."""
        return self.attack != NONE and not self.verified and self.lost <= ALLOWED


@dataclass(frozen=True)
class Pooled:
    """The cells of one scheme and attack over seeds: means with Student t intervals, and counts.

    With a single seed the interval is that cell's own (over triggers, over records), since one seed has no spread.
    """

    cells: tuple[Cell, ...]

    @property
    def strength(self) -> stats.Interval:
        if len(self.cells) == 1:
            return self.cells[0].strength
        return stats.mean_share([cell.strength.estimate for cell in self.cells])

    @property
    def lost(self) -> stats.Interval:
        """Share of accuracy lost; with one seed the interval is that of the accuracy after the attack, shifted."""
        if len(self.cells) > 1:
            return stats.mean_interval([cell.lost for cell in self.cells])
        (cell,) = self.cells
        before = cell.lost + cell.accuracy.estimate
        return stats.Interval(
            cell.lost, before - cell.accuracy.high, before - cell.accuracy.low, 0.95, cell.accuracy.method
        )

    @property
    def p_value(self) -> float:
        """The largest over seeds: what the least lucky owner would have to show."""
        return max(cell.p_value for cell in self.cells)

    @property
    def verified(self) -> int:
        return sum(cell.verified for cell in self.cells)

    @property
    def beaten(self) -> int:
        return sum(cell.beaten for cell in self.cells)

    @property
    def verdict(self) -> str:
        """One word on all seeds.

        The mark "holds" in every seed or is "beaten" in every seed; it is gone from every seed, but at too high a
        price in one or more: "costly"; or seeds "differ".
        """
        runs = len(self.cells)
        if self.verified == runs:
            return "holds"
        if self.beaten == runs:
            return "beaten"
        return "differ" if self.verified else "costly"

    def text(self, figure: str) -> str:
        """Return one of `FIGURES` for a table."""
        runs = len(self.cells)
        return {
            "strength": self.strength.percent(1),
            "p-value": f"{self.p_value:.2g}",
            "accuracy lost": points(self.lost),
            "verified": f"{self.verified} of {runs}",
            "beaten": f"{self.beaten} of {runs}",
        }[figure]


def points(value: stats.Interval) -> str:
    """Return a difference of shares in points, such as ``+1.2 [+0.4, +2.0]``."""
    return f"{100 * value.estimate:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


@dataclass(frozen=True, eq=False, repr=False)
class Matrix:
    """What is left of each mark after each attack: see `robustness`."""

    cells: tuple[Cell, ...]
    alpha: float
    null_count: int
    source: str
    profile: str

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
        text += f"{self.null_count} null models, alpha = {self.alpha:g}"
        few = self.null_count < verify.NULLS
        return text + (f": a rehearsal, a claim needs {verify.NULLS} null models" if few else "")

    def pooled(self, scheme: str, attack: str) -> Pooled:
        """Return the cells of one scheme and attack, over seeds.

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
        return Pooled(cells)

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
        """Return one row a scheme: which attacks beat it, in which seeds differ, and which never beat it.

        An attack that takes the mark and too much accuracy with it has not beaten the scheme. A scheme whose mark is not
        verified before any attack has an empty row.
        """
        import pandas as pd

        columns = {"beaten by": ("beaten",), "seeds differ": ("differ",), "survives": ("holds", "costly")}
        tried = [attack for attack in self.attacks if attack != NONE]
        rows = [
            {"scheme": scheme}
            | {
                name: ", ".join(attack for attack in tried if self.verdict(scheme, attack) in words)
                for name, words in columns.items()
            }
            for scheme in self.schemes
        ]
        return pd.DataFrame(rows).set_index("scheme")

    def attackers(self) -> pd.DataFrame:
        """Return one row an attack: which schemes it beats, what it costs on average over all models, and its seconds."""
        import pandas as pd

        rows = []
        for attack in self.attacks:
            cells = [cell for cell in self.cells if cell.attack == attack]
            rows.append(
                {
                    "attack": attack,
                    "beats": ", ".join(self.under(attack, "beaten")),
                    "seeds differ": ", ".join(self.under(attack, "differ")),
                    "accuracy lost (points)": round(100 * sum(c.lost for c in cells) / len(cells), 1) + 0.0,
                    "seconds a model": round(sum(c.seconds for c in cells) / len(cells), 1),
                }
            )
        return pd.DataFrame(rows).set_index("attack").drop(NONE, errors="ignore")

    def plot(self) -> Figure:
        """Draw the heat map: see `labkit.watermark.heatmap.draw`."""
        from labkit.watermark import heatmap

        return heatmap.draw(self)

    def numbers(self) -> dict[str, Any]:
        """Return all cells as plain numbers and text, for JSON."""
        cells = [
            {
                "scheme": cell.scheme,
                "attack": cell.attack,
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

    def save(self, path: str | Path) -> Path:
        """Write all cells as JSON, atomically, and return the path."""
        return write_json(path, self.numbers())

    def __repr__(self) -> str:
        return f"Robustness ({self.note})\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p><b>Robustness</b> ({self.note})</p>{self.wide().to_html(border=0)}"
