"""The table that compares defences: one row each, every figure with its interval over targets."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.membership.reports.intervals import Refused
from labkit.results import as_json, write_json
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

RATE = 0.01  # false-positive rate of the table


@dataclass(frozen=True)
class Row:
    """One defence's figures: means over targets with Student t intervals."""

    name: str
    accuracy: Interval
    auc: Interval
    tpr: Interval | Refused
    label_only: Interval
    ceiling: float | None
    shadow_models: str


@dataclass(frozen=True, eq=False, repr=False)
class DefenceTable:
    """What each defence costs and leaves: see `compare_defences`."""

    rows: tuple[Row, ...]
    attack: str
    source: str
    profile: str
    targets: int

    def table(self) -> pd.DataFrame:
        """Return one row a defence, each figure with its 95% interval over targets."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "defence": row.name,
                    "accuracy": row.accuracy.percent(1),
                    f"AUC, {self.attack}": str(row.auc),
                    f"TPR at {100 * RATE:g}% FPR": row.tpr.percent(),
                    "AUC, labels only": str(row.label_only),
                    "AUC ceiling": "none" if row.ceiling is None else f"{row.ceiling:.3f}",
                    "attacker's shadow models": row.shadow_models,
                }
                for row in self.rows
            ]
        ).set_index("defence")

    def plot(self) -> Figure:
        """Draw accuracy against the AUC that is left, each with its interval."""
        from labkit import plots

        fig, ax = plots.figure(7.6, 4.2)
        for row, marker in zip(self.rows, itertools.cycle("osD^vPX*<>")):  # colours repeat after seven rows
            x, y = row.auc, row.accuracy
            ax.errorbar(
                x.estimate,
                100 * y.estimate,
                xerr=[[x.estimate - x.low], [x.high - x.estimate]],
                yerr=[[100 * (y.estimate - y.low)], [100 * (y.high - y.estimate)]],
                marker=marker,
                linestyle="none",
                label=row.name,
            )
        ax.axvline(0.5, color="#777777", linewidth=1, linestyle="-")
        ax.set(
            xlabel=f"AUC of {self.attack} (0.5: guessing)",
            ylabel="accuracy (%)",
            title=f"Defences against membership inference\n{self.source}",
        )
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        seen = "; ".join(
            f"{row.name}: AUC {row.auc.estimate:.3f} at {100 * row.accuracy.estimate:.1f}%"
            for row in self.rows
        )
        return plots.describe(fig, f"Accuracy against attack AUC for each defence, {self.source}: {seen}.")

    def save(self, path: str | Path) -> Path:
        """Write the figures as JSON, atomically, and return the path."""
        rows = {
            row.name: {
                "accuracy": as_json(row.accuracy),
                "auc": as_json(row.auc),
                "tpr": as_json(row.tpr),
                "label_only_auc": as_json(row.label_only),
                "auc_ceiling": row.ceiling,
                "shadow_models": row.shadow_models,
            }
            for row in self.rows
        }
        facts = {
            "source": self.source,
            "profile": self.profile,
            "attack": self.attack,
            "targets": self.targets,
        }
        return write_json(path, facts | {"defences": rows})

    def __repr__(self) -> str:
        return f"{self.source}, {self.targets} targets a row\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        head = f"<p><b>Defences</b> ({self.source}; {self.targets} targets a row; profile {self.profile})</p>"
        return head + self.table().to_html(border=0)
