"""One line of evidence: a number for the suspect, the same number for independent models, and what that is worth.

Shared by `mistakes`, `agreement` and `inference`; the tests are those of `labkit.watermark.fingerprints.predictive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.stats import Interval, clopper_pearson
from labkit.watermark.fingerprints.predictive import accuses, check_values, predictive_p, rank_p, scale
from labkit.watermark.verification.verify import NULLS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NULL = "the suspect was trained independently of the owner's model and data, as the null models were"


@dataclass(frozen=True, eq=False, repr=False)
class Line:
    """One line of evidence against one suspect.

    Attributes
    ----------
    name, citation : str
    measures : str
        What the value is, in words.
    value : Interval
        The suspect's, with its sampling interval.
    nulls : ndarray of shape (k,)
        The null models' values.
    p_value, rank_p_value : float
        See `labkit.watermark.fingerprints.predictive`.
    alpha : float
        Fixed before the suspect was asked.
    resolution : float
        The value's smallest step: see `predictive_p`.
    queries : int
        Records shown to the suspect.
    assumption : str
        What the p-value rests on, beyond the null hypothesis.
    notes : tuple of str
        What a judge should know.
    hit, null_hit : bool ndarrays of shapes (n,) and (k, n), or None
        Record by record, where the value is a share of records.
    """

    name: str
    citation: str
    measures: str
    value: Interval
    nulls: np.ndarray
    p_value: float
    rank_p_value: float
    alpha: float
    resolution: float
    queries: int
    assumption: str
    source: str
    seed: int
    null_hypothesis: str = NULL
    profile: str = field(default_factory=lambda: profiles.current().name)
    notes: tuple[str, ...] = ()
    hit: np.ndarray | None = None
    null_hit: np.ndarray | None = None

    @property
    def n(self) -> int:
        """Records that the value is a share of."""
        return self.queries if self.hit is None else len(self.hit)

    @property
    def enough_nulls(self) -> bool:
        return len(self.nulls) >= NULLS

    @property
    def decided(self) -> bool:
        """Whether the line speaks against the suspect: p below alpha, and above each of enough null models."""
        above = bool((self.nulls < self.value.estimate).all())
        return self.enough_nulls and above and self.p_value < self.alpha

    @cached_property
    def power(self) -> float:
        """Probability that the predictive test reaches alpha for a suspect whose true value is the measured one."""
        from scipy import stats

        freedom = len(self.nulls) - 1
        shift = (self.value.estimate - self.nulls.mean()) / scale(self.nulls, self.resolution)
        power = stats.nct.sf(stats.t.isf(self.alpha, freedom), freedom, shift)
        return float(np.clip(np.nan_to_num(power, nan=1.0), 0, 1))  # far out, scipy gives NaN for 1

    @cached_property
    def accused(self) -> np.ndarray:
        """Which null models the same rule accuses, each against the others, bool (k,)."""
        others = (np.delete(self.nulls, j) for j in range(len(self.nulls)))
        judged = zip(self.nulls, others, strict=True)
        return np.array([accuses(own, rest, self.alpha, self.resolution) for own, rest in judged])

    @property
    def false_claims(self) -> Interval:
        """Share of null models accused, Clopper-Pearson.

        Whoever is accused exceeds all others, so for exchangeable models it is at most 1 / (1 + k).
        """
        return clopper_pearson(int(self.accused.sum()), len(self.nulls))

    def after(self, queries: int) -> Line:
        """Return the line on the first ``queries`` records alone, without asking again.

        Raises
        ------
        ValueError
            If there are not that many, or the value is no share of records.
        """
        if self.hit is None or not 1 <= queries <= len(self.hit):
            most = "none: not a share of records" if self.hit is None else f"1 to {len(self.hit)}"
            raise ValueError(f"queries is {queries}; expected {most}")
        hit, null_hit = self.hit[:queries], self.null_hit[:, :queries]
        value, nulls = clopper_pearson(int(hit.sum()), queries), null_hit.mean(1)
        return replace(
            self,
            value=value,
            nulls=nulls,
            p_value=predictive_p(value.estimate, nulls, resolution=1 / queries),
            rank_p_value=rank_p(value.estimate, nulls),
            resolution=1 / queries,
            queries=queries,
            hit=hit,
            null_hit=null_hit,
        )

    def __str__(self) -> str:
        verdict = "speaks against the suspect" if self.decided else "shows nothing"
        return (
            f"{self.name} {verdict}: {self.value}, null models {self.nulls.mean():.4g} "
            f"(at most {self.nulls.max():.4g} of {len(self.nulls)}), p = {self.p_value:.2g}, "
            f"rank p = {self.rank_p_value:.2g}, alpha = {self.alpha:g}, {self.queries:,} queries "
            f"({self.source}; profile {self.profile}; seed {self.seed})"
        )

    def __repr__(self) -> str:
        return str(self)

    def _rows(self) -> list[tuple[str, str]]:
        spread = f"mean {self.nulls.mean():.4g}, sd {self.nulls.std(ddof=1):.2g}, max {self.nulls.max():.4g}"
        rows = [
            (self.measures, str(self.value)),
            (f"the same for {len(self.nulls)} null models", spread),
            ("null hypothesis", self.null_hypothesis),
            ("p", f"{self.p_value:.3g}"),
            ("p (rank)", f"{self.rank_p_value:.3g}"),
            ("alpha", f"{self.alpha:g}"),
            ("decided", "against the suspect" if self.decided else "nothing shown"),
            ("power at this value", f"{self.power:.3f}"),
            ("null models accused by the same rule", self.false_claims.percent(1)),
            ("queries", f"{self.queries:,}"),
            ("assumes", self.assumption),
        ]
        return rows + [("note", note) for note in self.notes]

    def table(self) -> pd.DataFrame:
        """Return one row a fact, as text."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["fact", "value [95% interval]"]).set_index("fact")

    def plot(self) -> Figure:
        """Draw the null models' values and the suspect's."""
        fig, ax = plots.figure(6.4, 2.4)
        ax.plot(
            self.nulls, np.zeros(len(self.nulls)), "|", markersize=18, label=f"{len(self.nulls)} null models"
        )
        low, high = self.value.estimate - self.value.low, self.value.high - self.value.estimate
        ax.errorbar(
            [self.value.estimate],
            [0],
            xerr=[[low], [high]],
            fmt="o",
            capsize=4,
            color=plots.COLOURS[1],
            label="suspect",
        )
        ax.set_yticks([])
        ax.set_xlabel(self.measures)
        ax.set_title(f"{self.name}: p = {self.p_value:.2g} ({self.source})")
        ax.legend(loc="upper left")
        return plots.describe(
            fig,
            f"{self.name}: the suspect scores {self.value}, {len(self.nulls)} null models lie between "
            f"{self.nulls.min():.3g} and {self.nulls.max():.3g}; p = {self.p_value:.2g}; {self.source}.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text, for JSON."""
        from labkit.results import as_json

        return {
            "line": self.name,
            "citation": self.citation,
            "measures": self.measures,
            "value": as_json(self.value),
            "nulls": self.nulls.tolist(),
            "null_hypothesis": self.null_hypothesis,
            "assumption": self.assumption,
            "p_value": self.p_value,
            "rank_p_value": self.rank_p_value,
            "alpha": self.alpha,
            "decided": self.decided,
            "power": self.power,
            "false_claims": as_json(self.false_claims),
            "queries": self.queries,
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
            "notes": list(self.notes),
        }

    def save(self, path: str | Path) -> Path:
        """Write the figures as JSON, atomically, and return the path."""
        from labkit.results import write_json

        return write_json(path, self.numbers())

    def _repr_html_(self) -> str:
        return f"<p><b>{self.name}</b> ({self.source})</p>{self.table().to_html(border=0)}"


def weigh(
    value: Interval,
    nulls: Sequence[float],
    *,
    alpha: float,
    resolution: float = 0.0,
    records_p: float = 0.0,
    notes: Sequence[str] = (),
    **facts: Any,
) -> Line:
    """Return the line of evidence of one suspect's value against the null models' values.

    Parameters
    ----------
    value : Interval
    nulls : array-like of shape (k,)
    alpha : float
    resolution : float
        See `predictive_p`.
    records_p : float
        p-value of a second test of the same hypothesis, over records; the larger of the two counts.
    **facts
        The other attributes of `Line`.

    Raises
    ------
    ValueError
        If alpha is not in (0, 1), or the null models are fewer than three or not finite.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected a number between 0 and 1, such as 1e-3")
    nulls = check_values(nulls, 3)
    if len(nulls) < NULLS:
        notes = (*notes, f"{len(nulls)} null models are too few null models for a claim, {NULLS} are needed")
    return Line(
        value=value,
        nulls=nulls,
        p_value=max(records_p, predictive_p(value.estimate, nulls, resolution=resolution)),
        rank_p_value=rank_p(value.estimate, nulls),
        alpha=alpha,
        resolution=resolution,
        notes=tuple(notes),
        **facts,
    )
