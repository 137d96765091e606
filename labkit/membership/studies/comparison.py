"""Several attacks on the same targets: one table, one pair of axes, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.membership.reports import curves, intervals
from labkit.membership.reports.intervals import Operating, Refused
from labkit.membership.reports.result import Report
from labkit.membership.studies.leave_one_out import LeaveOneOut, check_pairs, difference
from labkit.results import Result, as_json
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.membership.reports.result import AttackResult


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Reports side by side: see `compare`."""

    parts: tuple[Report | LeaveOneOut, ...]
    source: str

    def summary(self) -> str:
        """Return who is compared on what."""
        names = ", ".join(part.name for part in self.parts)
        return f"{names} on the same records ({self.source}; profile {_results(self.parts[0])[0].profile})"

    def numbers(self) -> dict[str, Any]:
        """Return each attack's figures, and the paired differences of all."""
        attacks = {
            part.name: {
                "auc": as_json(part.auc),
                "tpr_at_fpr": {f"{r:g}": as_json(_tpr(part, r)) for r in intervals.LEVELS},
            }
            for part in self.parts
        }
        paired = {name: as_json(value) for name, value in self._paired()}
        return {"source": self.source, "attacks": attacks, "auc_differences": paired}

    def table(self) -> pd.DataFrame:
        """Return one row an attack: AUC and true-positive rates, each with its 95% interval, best AUC last.

        All attacks met the same records, so these intervals do not say which is better: `differences` does.
        """
        import pandas as pd

        rows = [
            {
                "attack": part.name,
                "AUC": str(part.auc),
                **{f"TPR at {100 * r:g}% FPR": _brief(_tpr(part, r)) for r in intervals.LEVELS},
                "from": _results(part)[0].citation,
            }
            for part in sorted(self.parts, key=lambda part: part.auc.estimate)
        ]
        return pd.DataFrame(rows).set_index("attack")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw all ROC curves on one pair of log-log axes, with the ceilings of those targets that have one."""
        privacies = [_results(part)[0].privacy for part in self.parts]
        private = {curves.ceiling_name(p): p for p in privacies if p is not None}
        drawn = [part.curve() for part in self.parts]
        title = "Membership inference"
        return curves.figure(drawn, title=title, source=self.source, ceilings=private, ax=ax)

    def differences(self) -> pd.DataFrame:
        """Return the paired differences in AUC of all pairs of attacks, jointly at 95% (Bonferroni).

        Of leave-one-out results they are Student's over targets; of reports on one target, DeLong's over its records.
        """
        import pandas as pd

        rows = [(name, str(value)) for name, value in self._paired()]
        column = f"AUC difference [{len(rows)} intervals, jointly 95%]"
        return pd.DataFrame(rows, columns=["attacks", column]).set_index("attacks")

    def _paired(self) -> list[tuple[str, Interval]]:
        ordered = sorted(self.parts, key=lambda part: -part.auc.estimate)
        pairs = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
        level = 1 - 0.05 / max(1, len(pairs))
        return [(f"{a.name} - {b.name}", _difference(a, b, level)) for a, b in pairs]


def _difference(a: Report | LeaveOneOut, b: Report | LeaveOneOut, level: float) -> Interval:
    if isinstance(a, LeaveOneOut) and isinstance(b, LeaveOneOut):
        return difference(a, b, confidence=level)
    mine, yours = _results(a)[0], _results(b)[0]
    return intervals.auc_difference(mine.scores, yours.scores, mine.members, level)


def _results(part: Report | LeaveOneOut) -> tuple[AttackResult, ...]:
    return (part.result,) if isinstance(part, Report) else part.results


def _tpr(part: Report | LeaveOneOut, rate: float) -> Interval | Refused:
    if isinstance(part, LeaveOneOut):
        return part.tpr[rate]
    point = part.points[rate]
    return point.tpr if isinstance(point, Operating) else point


def _brief(value: Interval | Refused) -> str:
    return f"refused: {value.short}" if isinstance(value, Refused) else value.percent()


def compare(parts: Sequence[Report | LeaveOneOut]) -> Comparison:
    """Put several attacks on the same records of the same targets side by side.

    Raises
    ------
    ValueError
        If there are none, or their records or targets differ.
    """
    sources = sorted({_results(part)[0].source for part in parts})
    if len(sources) != 1:
        raise ValueError(f"got reports on {sources or 'nothing'}; expected attacks on records of one source")
    for part in parts[1:]:
        check_pairs(parts[0].name, _results(parts[0]), part.name, _results(part))
    return Comparison(tuple(parts), sources[0])
