"""The table that compares defences: one row each, every figure with its interval over targets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.membership.reports.intervals import Refused
from labkit.results import Result, as_json
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE = 0.01  # false-positive rate over all records
CANARY_RATE = 0.05  # and over the canaries, of which there are few


@dataclass(frozen=True)
class Row:
    """One defence's figures: means over targets with Student t intervals, for models of these records.

    Attributes
    ----------
    accuracy : Interval
        On the population.
    unaware, aware : Interval
        AUC of the attacker who does not know the defence, and of the one who trains shadow models under it.
    tpr : Interval or Refused
        True-positive rate of the aware attacker at a false-positive rate of `RATE`.
    canaries, canary_tpr : Interval, Refused or None
        AUC, and true-positive rate at `CANARY_RATE`, of the aware attacker among the records hit worst.
    label_only : Interval or None
        AUC of an attack that sees labels alone.
    ceiling : float or None
        AUC that the privacy statement allows at most.
    change, accuracy_change : Interval or None
        Aware AUC and accuracy, minus those of the first row, paired over targets.
    """

    name: str
    accuracy: Interval
    unaware: Interval
    aware: Interval
    tpr: Interval | Refused
    canaries: Interval | None
    canary_tpr: Interval | Refused | None
    label_only: Interval | None
    ceiling: float | None
    change: Interval | None
    accuracy_change: Interval | None


@dataclass(frozen=True, eq=False, repr=False)
class DefenceTable(Result):
    """What each defence costs and leaves: see `compare_defences`.

    Attributes
    ----------
    targets, shadow_models : int
        Models under attack in each row, and shadow models of each attacker.
    reference : float or None
        Accuracy without any private record, where the rows' models build on public knowledge: the line of ε = 0.
    """

    rows: tuple[Row, ...]
    attack: str
    source: str
    profile: str
    targets: int
    shadow_models: int
    reference: float | None = None

    def summary(self) -> str:
        """Return who was attacked by whom, and what the intervals are of."""
        return (
            f"{self.attack} with {self.shadow_models} shadow models on {self.targets} targets a row ({self.source}; "
            f"profile {self.profile}); 95% intervals over models of these records, changes paired and jointly at 95%"
        )

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "source": self.source,
            "profile": self.profile,
            "attack": self.attack,
            "targets": self.targets,
            "shadow_models": self.shadow_models,
            "accuracy_without_private_records": self.reference,
            "defences": {row.name: as_json(row) for row in self.rows},
        }

    def row(self, name: str) -> Row:
        """Return the figures of one defence.

        Raises
        ------
        KeyError
            If there is no such row.
        """
        found = {row.name: row for row in self.rows}
        if name not in found:
            raise KeyError(f"no defence {name!r}; there are {', '.join(found)}")
        return found[name]

    def table(self) -> pd.DataFrame:
        """Return one row a defence, each figure with its 95% interval over targets."""
        import pandas as pd

        return pd.DataFrame([_cells(row) for row in self.rows]).set_index("defence").dropna(axis=1, how="all")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw accuracy against the AUC left to an attacker who knows the defence, and to one who does not."""
        from labkit import plots

        if ax is None:
            _, ax = plots.figure(8.4, 4.4)
        for row, marker in zip(self.rows, itertools.cycle("osD^vPX*<>")):  # colours repeat after seven rows
            x, y = row.aware, row.accuracy
            drawn = ax.errorbar(
                x.estimate,
                100 * y.estimate,
                xerr=[[x.estimate - x.low], [x.high - x.estimate]],
                yerr=[[100 * (y.estimate - y.low)], [100 * (y.high - y.estimate)]],
                marker=marker,
                linestyle="none",
                label=row.name,
            )
            at = [row.unaware.estimate, x.estimate], [100 * y.estimate] * 2
            colour = drawn.lines[0].get_color()
            ax.plot(*at, color=colour, linestyle=":", linewidth=1)
            ax.plot(at[0][0], at[1][0], marker=marker, color=colour, markerfacecolor="none", linestyle="none")
        if self.reference is not None:
            label = "no private record (ε = 0)"
            ax.axhline(100 * self.reference, color="#000000", linewidth=1, linestyle="--", label=label)
        ax.axvline(0.5, color="#777777", linewidth=1, linestyle="-")
        ax.set(
            xlabel=f"AUC of {self.attack} (filled: knows the defence, hollow: does not; 0.5: guessing)",
            ylabel="accuracy (%)",
            title=f"What defences leave, and cost: {self.targets} targets each\n{self.source}",
        )
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        seen = "; ".join(
            f"{row.name}: AUC {row.aware.estimate:.3f} (unaware {row.unaware.estimate:.3f}) at "
            f"{100 * row.accuracy.estimate:.1f}%"
            for row in self.rows
        )
        return plots.describe(
            ax.figure, f"Accuracy against attack AUC for each defence, {self.source}: {seen}."
        )

    def __repr__(self) -> str:
        return f"{self.summary()}\n{self.table().to_string()}"

    def __str__(self) -> str:
        return repr(self)


def _cells(row: Row) -> dict[str, Any]:
    """Return a row as text; None where the whole column may be left out."""
    return {
        "defence": row.name,
        "accuracy": row.accuracy.percent(1),
        "accuracy - first": row.accuracy_change and row.accuracy_change.percent(1),
        "AUC, attacker unaware": _text(row.unaware),
        "AUC, attacker aware": _text(row.aware),
        "aware AUC - first": _text(row.change),
        f"TPR at {100 * RATE:g}% FPR, aware": _text(row.tpr),
        "canaries: AUC, aware": _text(row.canaries),
        f"canaries: TPR at {100 * CANARY_RATE:g}% FPR, aware": _text(row.canary_tpr),
        "AUC, labels only": _text(row.label_only),
        "AUC ceiling": None if row.ceiling is None else f"{row.ceiling:.3f}",
    }


def _text(value: Interval | Refused | None) -> str | None:
    if isinstance(value, Refused):
        return f"refused: {value.short}"
    return value if value is None else f"{value.estimate:.3f} [{value.low:.3f}, {value.high:.3f}]"
