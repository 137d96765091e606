"""Every shadow model once in the role of the target: as many results as models, for intervals over models.

One target says how well an attack works on that model. Training is random too, so a claim that one attack beats another
needs several targets, and the same targets for both.

The intervals are Student's over targets, which are trained on one pool: they are right for *these records*. In
simulation they hold the mean over further models of the same pool 94 to 97 times in 100; that over models of another
pool, with records of its own, 73 times. What is said about new records needs an interval over records as well:
`labkit.membership.reports.intervals` has it for one target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import progress, stats
from labkit.membership.attacks.registry import attack
from labkit.membership.reports import curves, intervals
from labkit.membership.reports.intervals import Refused
from labkit.membership.reports.result import AttackResult, draw_records
from labkit.membership.shadows.bank import ShadowBank
from labkit.results import Result, as_json
from labkit.stats import Interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class LeaveOneOut(Result):
    """One attack on several targets: see `leave_one_out`.

    Attributes
    ----------
    results : tuple of AttackResult, one per target
    aucs : array of shape (targets,)
    auc : Interval
        Mean over targets, Student t: for models trained on these records.
    tpr : dict
        False-positive rate to the mean true-positive rate over targets (Student t), or Refused.
    """

    name: str
    results: tuple[AttackResult, ...]
    aucs: np.ndarray
    auc: Interval
    tpr: dict[float, Interval | Refused] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the records came from."""
        return self.results[0].source

    @property
    def title(self) -> str:
        """Who attacked what, for titles."""
        return f"{self.name} on {len(self.results)} models of the same records, {self.results[0].shadows} shadow models each"

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("AUC", str(self.auc))]
        return rows + [(f"TPR at {100 * rate:g}% FPR", value.percent()) for rate, value in self.tpr.items()]

    def summary(self) -> str:
        """Return who attacked what."""
        return f"{self.title} ({self.source})"

    def __str__(self) -> str:
        return "\n".join([self.summary(), *(f"{a:<22}{b}" for a, b in self._rows())])

    def __repr__(self) -> str:
        return str(self)

    def table(self) -> pd.DataFrame:
        """Return one row a figure, with its mean over targets and interval as text."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["figure", "mean [95% interval]"]).set_index("figure")

    def curve(self) -> curves.Curve:
        """Return the mean ROC over targets with its band."""
        return curves.of_many(self.name, [(r.scores, r.members) for r in self.results])

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the mean log-log ROC with its band."""
        return curves.figure([self.curve()], title=self.title, source=self.source, ax=ax)

    def vulnerability(self) -> np.ndarray:
        """Return, per record, how far its score rises when it is a member: a difference of means over targets.

        In units of the scores' standard deviation around each record's own two means; NaN for a record that was on one
        side in all targets.
        """
        scores = np.stack([r.scores for r in self.results])
        masks = np.stack([r.members for r in self.results])
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = (scores * masks).sum(0) / masks.sum(0)
            outside = (scores * ~masks).sum(0) / (~masks).sum(0)
            left = scores - np.where(masks, inside, outside)
            return (inside - outside) / max(float(np.sqrt(np.nanmean(np.square(left)))), 1e-12)

    def plot_exposed(self, count: int = 20) -> Figure:
        """Draw the records whose scores rise most when they are members."""
        exposure = np.nan_to_num(self.vulnerability(), nan=-np.inf)
        first = self.results[0]
        chosen = first.records[np.argsort(-exposure, kind="stable")[:count]]
        return draw_records(first, chosen, f"most exposed records by {self.name}")

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "attack": self.name,
            "citation": self.results[0].citation,
            "source": self.source,
            "profile": self.results[0].profile,
            "shadow_models": self.results[0].shadows,
            "aucs": self.aucs.tolist(),
            "auc": as_json(self.auc),
            "tpr_at_fpr": {f"{rate:g}": as_json(value) for rate, value in self.tpr.items()},
        }


def leave_one_out(
    bank: ShadowBank,
    name: str,
    *,
    targets: Sequence[int] | None = None,
    shadow_models: int | None = None,
    label: str | None = None,
    **options: Any,
) -> LeaveOneOut:
    """Attack each model of a bank with the others, its partner on the other half of the pool left out as well.

    Parameters
    ----------
    name : str
        A key of `labkit.membership.ATTACKS`.
    targets : sequence of int, optional
        Which models (default: all).
    shadow_models : int, optional
        Use only this many of the remaining models, whole pairs: what an attacker with fewer would see.
    label : str, optional
        Name in tables and legends (default: the attack's).
    **options
        Of the attack.

    Raises
    ------
    ValueError
        If fewer than two models are targets, or more shadow models are wanted than remain.
    """
    targets = list(range(len(bank))) if targets is None else list(targets)
    if len(targets) < 2:
        raise ValueError(f"got {len(targets)} target; an interval over models needs at least 2")
    results = []
    for k in progress.track(targets, f"{name}, one model at a time"):
        rest = bank.without(k)
        if shadow_models is not None:
            if shadow_models > len(rest) or shadow_models % 2:
                raise ValueError(
                    f"shadow_models is {shadow_models}; expected an even number up to {len(rest)}"
                )
            # Rotate, so that not every target meets the same few shadow models.
            rest = rest.select([(k - k % 2 + j) % len(rest) for j in range(shadow_models)])
        results.append(attack(name, bank.target(k), rest, **options))
    return summarise(label or name, results)


def summarise(name: str, results: Sequence[AttackResult]) -> LeaveOneOut:
    """Return the figures of one attack on several targets."""
    aucs = np.array([stats.auc(r.scores[r.members], r.scores[~r.members]) for r in results])
    tpr = {rate: mean_tpr(results, rate) for rate in intervals.LEVELS}
    return LeaveOneOut(name, tuple(results), aucs, stats.mean_share(aucs), tpr)


def mean_tpr(results: Sequence[AttackResult], rate: float) -> Interval | Refused:
    """Return the mean over targets of the true-positive rate at each target's own threshold."""
    points = [intervals.operating_point(r.scores, r.members, rate) for r in results]
    for point in points:
        if isinstance(point, Refused):
            return point
    return stats.mean_share([point.tpr.estimate for point in points])


def difference(a: LeaveOneOut, b: LeaveOneOut, *, confidence: float = 0.95) -> Interval:
    """Return the mean difference in AUC, a minus b, over the same targets (paired Student t).

    Parameters
    ----------
    confidence : float
        Of several differences that are read together, 1 - 0.05 / their number each keeps them jointly at 95%.

    Raises
    ------
    ValueError
        If the targets were not trained on the same records, pair by pair.
    """
    check_pairs(a.name, a.results, b.name, b.results)
    return stats.mean_interval(a.aucs - b.aucs, confidence)


def check_pairs(name: str, ours: Sequence[AttackResult], other: str, theirs: Sequence[AttackResult]) -> None:
    """Refuse to pair results whose scores are of other records, or whose targets had other members.

    Raises
    ------
    ValueError
        If number of targets, source, records, labels or members differ. Equal names prove nothing.
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"{name} has {len(ours)} targets, {other} {len(theirs)}: different targets cannot be paired"
        )
    for mine, yours in zip(ours, theirs, strict=True):
        for what in ("source", "records", "labels", "members"):
            if not np.array_equal(getattr(mine, what), getattr(yours, what)):
                raise ValueError(
                    f"{name} and {other} were run on different targets: {mine.target} and {yours.target} differ in "
                    f"their {what}; a paired difference needs the same"
                )
