"""One line of evidence: a number for the suspect, the same number for independent models, and what that is worth.

Shared by `mistakes`, `agreement` and `inference`. Two p-values, both one-sided, both for the null hypothesis that the
suspect was trained independently, as the null models were:

- `predictive_p`: is the suspect's value a further draw from a normal distribution whose mean and spread were estimated
  from k null models? Student t with k - 1 degrees of freedom, scale s * sqrt(1 + 1/k). Small p-values rest on the
  normal tail, which k models cannot show.
- `rank_p`: (1 + null models at or above the suspect) / (1 + k). Assumes exchangeability alone, so it is valid at every
  k, and it never falls below 1 / (1 + k).

A verdict needs both: the first below alpha, and no null model at or above the suspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.stats import Interval, clopper_pearson
from labkit.watermark.verify import NULLS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NULL = "the suspect was trained independently of the owner's model and data, as the null models were"


def check_values(nulls: Sequence[float], minimum: int) -> np.ndarray:
    """Return the null models' values as an array, float64 (k,).

    Raises
    ------
    ValueError
        If there are fewer than ``minimum`` (or than 2), or one is not finite.
    """
    array = np.asarray(nulls, dtype=float).ravel()
    if len(array) < max(2, minimum):
        raise ValueError(
            f"got {len(array)} null models; expected at least {max(2, minimum)}: train more "
            "(watermark.nulls.null_models), or pass a smaller minimum= for a rehearsal that proves nothing"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"null model {int(np.flatnonzero(~np.isfinite(array))[0])} has no finite value")
    return array


def _scale(nulls: np.ndarray, resolution: float) -> float:
    """Return the spread of one further value; never below the statistic's smallest step, so never zero."""
    spread = max(float(nulls.std(ddof=1)), resolution)
    if spread == 0:
        raise ValueError(
            f"all {len(nulls)} null models score {nulls[0]:g}: they look like copies of one model; train them on "
            "other seeds, or ask more queries"
        )
    return spread * float(np.sqrt(1 + 1 / len(nulls)))


def predictive_p(value: float, nulls: Sequence[float], *, resolution: float = 0.0) -> float:
    """Return the one-sided predictive t-test's p-value: a further null model at ``value`` or above.

    Null hypothesis: the suspect's value is one more draw from the distribution of the null models' values.
    Assumption: that distribution is normal, and suspect and null models are exchangeable.

    Parameters
    ----------
    nulls : array-like of shape (k,)
    resolution : float
        The statistic's smallest step (1/n for a share of n records): a floor for the standard deviation.

    Raises
    ------
    ValueError
        If there are fewer than two null models, or they do not vary and ``resolution`` is 0.
    """
    from scipy import stats

    nulls = check_values(nulls, 2)
    return float(stats.t.sf((value - nulls.mean()) / _scale(nulls, resolution), len(nulls) - 1))


def rank_p(value: float, nulls: Sequence[float]) -> float:
    """Return (1 + null models at or above ``value``) / (1 + k).

    Null hypothesis: suspect and null models are exchangeable. No other assumption; ties count for the suspect.
    """
    nulls = check_values(nulls, 2)
    return float((1 + (nulls >= value).sum()) / (1 + len(nulls)))


def accuses(value: float, nulls: np.ndarray, alpha: float, resolution: float) -> bool:
    """Say whether the rule of this module speaks against a model with this value."""
    return predictive_p(value, nulls, resolution=resolution) < alpha and bool((nulls < value).all())


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
        See `predictive_p` and `rank_p`.
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
        shift = (self.value.estimate - self.nulls.mean()) / _scale(self.nulls, self.resolution)
        power = stats.nct.sf(stats.t.isf(self.alpha, freedom), freedom, shift)
        return float(np.clip(np.nan_to_num(power, nan=1.0), 0, 1))  # far out, scipy gives NaN for 1

    @cached_property
    def false_claims(self) -> Interval:
        """Share of the null models that the same rule accuses, each against the others, Clopper-Pearson.

        Whoever is accused exceeds all others, so for exchangeable models it is at most 1 / (1 + k).
        """
        accused = sum(
            accuses(own, np.delete(self.nulls, j), self.alpha, self.resolution)
            for j, own in enumerate(self.nulls)
        )
        return clopper_pearson(accused, len(self.nulls))

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
        from labkit.membership.reports import as_json

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
        from labkit.membership.reports import write_json

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
