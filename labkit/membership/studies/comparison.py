"""Several attacks on the same targets: one table, one pair of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.membership.reports import curves, intervals
from labkit.membership.reports.intervals import Operating
from labkit.membership.reports.result import Report
from labkit.membership.studies.leave_one_out import LeaveOneOut, difference
from labkit.results import as_json, write_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Reports side by side: see `compare`."""

    parts: tuple[Report | LeaveOneOut, ...]
    source: str

    def _tpr(self, part: Report | LeaveOneOut, rate: float) -> Any:
        if isinstance(part, LeaveOneOut):
            return part.tpr[rate]
        point = part.points[rate]
        return point.tpr if isinstance(point, Operating) else point

    def table(self) -> pd.DataFrame:
        """Return one row an attack: AUC and true-positive rates, each with its 95% interval, best AUC last."""
        import pandas as pd

        rows = [
            {
                "attack": _label(part),
                "AUC": str(part.auc),
                **{f"TPR at {100 * r:g}% FPR": _brief(self._tpr(part, r)) for r in intervals.LEVELS},
                "from": _first(part).citation,
            }
            for part in sorted(self.parts, key=lambda part: part.auc.estimate)
        ]
        return pd.DataFrame(rows).set_index("attack")

    def plot(self) -> Figure:
        """Draw all ROC curves on one pair of log-log axes, with the ceilings of those targets that have one."""
        private = {
            curves.ceiling_name(p): p for part in self.parts if (p := _first(part).privacy) is not None
        }
        drawn = [part.curve() for part in self.parts]
        return curves.figure(drawn, title="Membership inference", source=self.source, ceilings=private)

    def differences(self) -> pd.DataFrame:
        """Return the paired differences in AUC of all pairs of attacks run on the same several targets.

        Raises
        ------
        ValueError
            If the parts are single reports: one target gives no interval over models.
        """
        import pandas as pd

        if not all(isinstance(part, LeaveOneOut) for part in self.parts):
            raise ValueError(
                "paired differences need leave_one_out results: one target gives no interval over models"
            )
        ordered = sorted(self.parts, key=lambda part: -part.auc.estimate)
        rows = [
            (f"{better.name} - {worse.name}", str(difference(better, worse)))
            for i, better in enumerate(ordered)
            for worse in ordered[i + 1 :]
        ]
        return pd.DataFrame(rows, columns=["attacks", "AUC difference [95%]"]).set_index("attacks")

    def save(self, path: str | Path) -> Path:
        """Write the table's figures as JSON, atomically, and return the path."""
        content = {
            _label(part): {
                "auc": as_json(part.auc),
                "tpr_at_fpr": {f"{r:g}": as_json(self._tpr(part, r)) for r in intervals.LEVELS},
            }
            for part in self.parts
        }
        return write_json(path, {"source": self.source, "attacks": content})

    def __repr__(self) -> str:
        return f"{self.source}\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        return f"<p><b>Membership inference</b> ({self.source})</p>{self.table().to_html(border=0)}"


def _first(part: Report | LeaveOneOut) -> Any:
    return part.result if isinstance(part, Report) else part.results[0]


def _label(part: Report | LeaveOneOut) -> str:
    return part.name


def _brief(value: Any) -> str:
    return value.percent() if not isinstance(value, intervals.Refused) else "refused: too few non-members"


def compare(parts: Sequence[Report | LeaveOneOut]) -> Comparison:
    """Put several attacks on the same records side by side.

    Raises
    ------
    ValueError
        If there are none, or their records came from different sources.
    """
    sources = sorted({_first(part).source for part in parts})
    if len(sources) != 1:
        raise ValueError(f"got reports on {sources or 'nothing'}; expected attacks on records of one source")
    return Comparison(tuple(parts), sources[0])
