"""One line of evidence: a number for the suspect, the same number for independent models, and what that is worth.

Shared by `mistakes`, `agreement`, `dataset_inference` and the court's mark. Three p-values, and what each rests on:

- *exact*: re-drawn keys (`labkit.watermark.verification.redrawn_keys`) or permuted records; no model of chance. Only
  lines with a direction, the mark and dataset inference, have one.
- *model-based*: the suspect is one more draw from a normal distribution that k null models show (`predictive_p`).
- *rank* among k null models: never below 1 / (1 + k).

A line speaks if its p-value (the exact one, where there is one) and the model-based one are at most alpha, and no null
model scores as much. So the exact test alone bounds how often an innocent is accused; null models can only acquit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, profiles
from labkit.results import Result, as_json
from labkit.stats import SUPPORTED, Interval, clopper_pearson, p_text, p_words
from labkit.watermark.fingerprints.predictive import check_values, predictive_p, rank_p, scale
from labkit.watermark.verification.verdict import NULLS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.watermark.verification.redrawn_keys import RedrawnKeys

MODEL, KEYS, RECORDS = "model-based", "re-drawn keys", "permuted records"
NULL = "the suspect was trained independently of the owner's model and data, as the null models were"


@dataclass(frozen=True, eq=False, repr=False)
class Line(Result):
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
    model_p, rank_p_value : float
        See `labkit.watermark.fingerprints.predictive`.
    exact_p : float or None
        p-value of a test that needs no model of chance, where the line has one.
    by : str
        What `p_value` rests on: `KEYS`, `RECORDS`, or `MODEL`.
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
    redrawn : RedrawnKeys or None
        What keys drawn anew reached on the suspect.
    """

    name: str
    citation: str
    measures: str
    value: Interval
    nulls: np.ndarray
    model_p: float
    rank_p_value: float
    alpha: float
    resolution: float
    queries: int
    assumption: str
    source: str
    seed: int
    exact_p: float | None = None
    by: str = MODEL
    null_hypothesis: str = NULL
    profile: str = field(default_factory=lambda: profiles.current().name)
    notes: tuple[str, ...] = ()
    hit: np.ndarray | None = None
    null_hit: np.ndarray | None = None
    redrawn: RedrawnKeys | None = None

    @property
    def p_value(self) -> float:
        """The exact p-value where there is one, else the model-based."""
        return self.model_p if self.exact_p is None else self.exact_p

    @property
    def n(self) -> int:
        """Records that the value is a share of."""
        return self.queries if self.hit is None else len(self.hit)

    @property
    def enough_nulls(self) -> bool:
        return len(self.nulls) >= NULLS

    @property
    def decided(self) -> bool:
        """Whether the line speaks against the suspect: p-values at most alpha, and above each of enough null models."""
        above = bool((self.nulls < self.value.estimate).all())
        return self.enough_nulls and above and at_most(max(self.p_value, self.model_p), self.alpha)

    @cached_property
    def power(self) -> float:
        """Probability that the model-based test reaches alpha for a suspect whose true value is the measured one."""
        from scipy import stats

        freedom = len(self.nulls) - 1
        shift = (self.value.estimate - self.nulls.mean()) / scale(self.nulls, self.resolution)
        power = stats.nct.sf(stats.t.isf(self.alpha, freedom), freedom, shift)
        return float(np.clip(np.nan_to_num(power, nan=1.0), 0, 1))  # far out, scipy gives NaN for 1

    @cached_property
    def accused(self) -> np.ndarray:
        """Which null models the model-based rule accuses, each against the others, bool (k,)."""
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
        redrawn = None if self.redrawn is None else self.redrawn.after(queries)
        return replace(
            self,
            value=value,
            nulls=nulls,
            model_p=predictive_p(value.estimate, nulls, resolution=1 / queries),
            rank_p_value=rank_p(value.estimate, nulls),
            exact_p=None if redrawn is None else redrawn.p_value,
            resolution=1 / queries,
            queries=queries if redrawn is None else redrawn.queries,
            hit=hit,
            null_hit=null_hit,
            redrawn=redrawn,
        )

    def summary(self) -> str:
        """Return one line: what it says, the values and p-values."""
        verdict = "speaks against the suspect" if self.decided else "shows nothing"
        return (
            f"{self.name} {verdict}: {self.value}, null models {self.nulls.mean():.4g} "
            f"(at most {self.nulls.max():.4g} of {len(self.nulls)}), {self.p_text()}, "
            f"alpha = {self.alpha:.2g}, {self.queries:,} queries "
            f"({self.source}; profile {self.profile}; seed {self.seed})"
        )

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def p_text(self) -> str:
        """Return all p-values, each with what it rests on."""
        exact = "" if self.exact_p is None else f"{p_words(self.exact_p)} ({self.by}), "
        return f"{exact}p {model_text(self.model_p)} ({MODEL}), rank {p_words(self.rank_p_value)}"

    def _rows(self) -> list[tuple[str, str]]:
        spread = f"mean {self.nulls.mean():.4g}, sd {self.nulls.std(ddof=1):.2g}, max {self.nulls.max():.4g}"
        exact = [] if self.exact_p is None else [(f"p ({self.by})", p_text(self.exact_p))]
        rows = [
            (self.measures, str(self.value)),
            (f"the same for {len(self.nulls)} null models", spread),
            ("null hypothesis", self.null_hypothesis),
            *exact,
            (f"p ({MODEL}: normal across null models)", model_text(self.model_p)),
            (f"p (rank among {len(self.nulls)} null models)", p_text(self.rank_p_value)),
            ("alpha", f"{self.alpha:.2g}"),
            ("decided", "against the suspect" if self.decided else "nothing shown"),
            ("power at this value (model-based)", f"{self.power:.3f}"),
            ("null models accused by the model-based rule", self.false_claims.percent(1)),
            ("queries", f"{self.queries:,}"),
            ("assumes", self.assumption),
        ]
        return rows + [("note", note) for note in self.notes]

    def table(self) -> pd.DataFrame:
        """Return one row a fact, as text."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["fact", "value [95% interval]"]).set_index("fact")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the null models' values and the suspect's."""
        fig, ax = plots.figure(6.4, 2.4) if ax is None else (ax.figure, ax)
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
        ax.set_title(f"{self.name}: {self.p_text()}\n{self.source}", fontsize=10)
        ax.legend(loc="upper left")
        return plots.describe(
            fig,
            f"{self.name}: the suspect scores {self.value}, {len(self.nulls)} null models lie between "
            f"{self.nulls.min():.3g} and {self.nulls.max():.3g}; {self.p_text()}; {self.source}.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text, for JSON."""
        return {
            "line": self.name,
            "citation": self.citation,
            "measures": self.measures,
            "value": as_json(self.value),
            "nulls": self.nulls.tolist(),
            "null_hypothesis": self.null_hypothesis,
            "assumption": self.assumption,
            "p_value": self.p_value,
            "p_value_rests_on": self.by,
            "model_p_value": self.model_p,
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


def at_most(p: float, alpha: float) -> bool:
    """Say whether ``p`` is at most ``alpha``, up to rounding: 1 / 1000 is at most .001."""
    return p <= alpha * (1 + 1e-9)


def accuses(value: float, nulls: np.ndarray, alpha: float, resolution: float) -> bool:
    """Say whether null models alone speak against a model with this value: p at most alpha, and above each."""
    return at_most(predictive_p(value, nulls, resolution=resolution), alpha) and bool((nulls < value).all())


def model_text(p: float) -> str:
    """Return a model-based p-value with no more digits than twenty models carry.

    Examples
    --------
    >>> model_text(3e-60), model_text(0.0321)
    ('< 1e-06', '= 0.03')
    """
    shown = p_text(p, SUPPORTED, digits=1)
    return shown if p < SUPPORTED else f"= {shown}"


def weigh(
    value: Interval,
    nulls: Sequence[float],
    *,
    alpha: float,
    resolution: float = 0.0,
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
        model_p=predictive_p(value.estimate, nulls, resolution=resolution),
        rank_p_value=rank_p(value.estimate, nulls),
        alpha=alpha,
        resolution=resolution,
        notes=tuple(notes),
        **facts,
    )
