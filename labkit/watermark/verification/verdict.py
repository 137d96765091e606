"""What triggers say about a suspect: the result object of `labkit.watermark.verification.verify`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import plots, stats
from labkit.results import Result, as_json
from labkit.stats import Interval
from labkit.watermark.verification import binomial

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.watermark.verification.redrawn_keys import RedrawnKeys

NULLS = 20  # fewer independent models say too little about the next one


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(Result):
    """What the triggers say about one suspect: see `verify`.

    Attributes
    ----------
    hit : bool array of shape (n,)
        Which triggers the suspect answers as marked.
    null_hit : bool array of shape (k, n)
        The same for each null model.
    alpha : float
        Fixed in advance.
    what : str
        What was asked: the kind of trigger, or bits.
    suspect, source, profile : str
    seed : int
    redrawn : RedrawnKeys, optional
        The same suspect asked about keys drawn anew: its p-value is exact, whatever the suspect's architecture.
    chance : float, optional
        The rate at which a suspect hits that never saw the key, where the mark's own randomness fixes it: 1/2 for bits.
        Then the binomial is exact for any such suspect, and null models are only asked as a check.
    """

    hit: np.ndarray
    null_hit: np.ndarray
    alpha: float
    what: str
    suspect: str
    source: str
    profile: str
    seed: int = 0
    redrawn: RedrawnKeys | None = None
    chance: float | None = None

    @property
    def hits(self) -> int:
        return int(self.hit.sum())

    @property
    def n(self) -> int:
        return len(self.hit)

    @property
    def queries(self) -> int:
        """Queries that the suspect answered."""
        return len(self.hit)

    @property
    def null_hits(self) -> np.ndarray:
        """Hits of each null model, int (k,)."""
        return self.null_hit.sum(1)

    @property
    def null_rates(self) -> np.ndarray:
        return self.null_hits / self.n

    @property
    def rate(self) -> Interval:
        """Share of triggers that hit, Clopper-Pearson."""
        return stats.clopper_pearson(self.hits, self.n)

    @property
    def null_rate(self) -> float:
        """The rate that H0 is tested at: `chance` where the key fixes it, else see `null_rate_of`."""
        return self._rate_under_h0(self.null_hits)

    def _rate_under_h0(self, null_hits: np.ndarray) -> float:
        return binomial.null_rate_of(null_hits, self.n) if self.chance is None else self.chance

    @property
    def p_value(self) -> float:
        """The p-value that a claim rests on: of keys drawn anew where they were asked, else `model_based_p_value`."""
        return self.model_based_p_value if self.redrawn is None else self.redrawn.p_value

    @property
    def model_based_p_value(self) -> float:
        """Exact binomial tail at `null_rate`.

        It counts chance in the triggers. That no innocent model's rate lies above the highest of k is an assumption:
        without it, all that k models can say is `rank_p_value`. At `chance` nothing is assumed of any model.
        """
        return binomial.tail(self.hits, self.n, self.null_rate)

    @property
    def p_text(self) -> str:
        """The p-value with what it rests on, and no more digits than that supports."""
        if self.redrawn is not None:
            return f"{stats.p_words(self.p_value)} among {len(self.redrawn.redrawn):,} keys drawn anew"
        if self.chance is not None:
            return f"{stats.p_words(self.p_value)}, exact: {self.chance:.0%} a bit under any key that the suspect never saw"
        shown = stats.p_words(self.model_based_p_value, stats.SUPPORTED, digits=1)
        return f"model-based {shown}, rank {stats.p_words(self.rank_p_value)}"

    @property
    def _rests_on(self) -> str:
        if self.redrawn is not None:
            return "keys drawn anew"
        return "null models, binomial" if self.chance is None else "the key's own chance, binomial"

    @property
    def rank_p_value(self) -> float:
        """(1 + null models that hit as often) / (1 + null models): assumes exchangeable models, and nothing else."""
        return (1 + int((self.null_hits >= self.hits).sum())) / (1 + len(self.null_hits))

    @property
    def enough_nulls(self) -> bool:
        return len(self.null_hit) >= NULLS

    @property
    def decided(self) -> bool:
        """Whether the mark is proven: more hits than any of enough null models, and the p-value at most alpha.

        At `chance` the p-value decides alone: it needs no null model.
        """
        if self.chance is not None:
            return self.p_value <= self.alpha
        above = self.enough_nulls and self.hits > self.null_hits.max()
        return above and self.p_value <= self.alpha and self.model_based_p_value < self.alpha

    @property
    def needed(self) -> int | None:
        """Hits that would prove the mark."""
        return binomial.hits_needed(self.n, self.null_rate, self.alpha)

    @property
    def power(self) -> float:
        """Probability to reach alpha again, with as many fresh triggers that hit at the measured rate."""
        return binomial.power(self.rate.estimate, self.n, self.null_rate, self.alpha)

    @cached_property
    def accused(self) -> np.ndarray:
        """Which null models the same rule accuses, each against the others, bool (k,)."""
        others = (np.delete(self.null_hits, k) for k in range(len(self.null_hits)))
        rates = [self._rate_under_h0(rest) for rest in others]
        tails = [
            binomial.tail(int(own), self.n, rate) for own, rate in zip(self.null_hits, rates, strict=True)
        ]
        return np.array(tails) < self.alpha

    @property
    def false_claim_rate(self) -> Interval:
        """Share of null models accused, Clopper-Pearson.

        Whoever exceeds alpha exceeds every null model, so for exchangeable models it is at most 1 / (1 + k), whatever
        the spread between them.
        """
        return stats.clopper_pearson(int(self.accused.sum()), len(self.null_hits))

    def after(self, queries: int) -> Verdict:
        """Return the verdict on the first ``queries`` triggers alone, without asking again.

        Raises
        ------
        ValueError
            If there are not that many.
        """
        if not 1 <= queries <= self.n:
            raise ValueError(f"queries is {queries}; expected 1 to {self.n}")
        return replace(self, hit=self.hit[:queries], null_hit=self.null_hit[:, :queries])

    @property
    def verdict(self) -> str:
        """One sentence that can stand in a report."""
        against = (
            f"{self.hits} of {self.n} hits, null models at most {self.null_rates.max():.1%}, {self.p_text}"
        )
        if not self.enough_nulls and self.chance is None:
            return f"no claim: {len(self.null_hit)} null models are too few null models for a claim, {NULLS} are needed ({against})"
        if self.decided:
            return f"mark found: {against}, alpha = {self.alpha:g}"
        return f"mark not found: {against}, alpha = {self.alpha:g}; {self.needed or 'more than all'} hits would prove it"

    def __str__(self) -> str:
        return f"{self.suspect}: {self.verdict} [{self.what}; {self.source}; profile {self.profile}; seed {self.seed}]"

    def __repr__(self) -> str:
        return str(self)

    def summary(self) -> str:
        """Return the verdict with its source, in one line."""
        return str(self)

    def table(self) -> pd.DataFrame:
        """Return one row a figure, as text."""
        import pandas as pd

        rows = [
            ("verdict", self.verdict),
            ("hits", f"{self.hits} of {self.n} ({self.rate.percent(1)})"),
            (
                f"{len(self.null_hit)} null models",
                f"{self.null_rates.min():.1%} to {self.null_rates.max():.1%}, mean {self.null_rates.mean():.1%}",
            ),
            ("rate under H0", f"{self.null_rate:.2%}"),
            ("p-value", self.p_text),
            ("hits needed", f"{self.needed or 'more than all'} for p < {self.alpha:g}"),
            ("power", f"{self.power:.3f}"),
            ("false claims", self.false_claim_rate.percent(1)),
            ("queries", str(self.queries)),
            ("source", f"{self.source}; profile {self.profile}; seed {self.seed}"),
        ]
        return pd.DataFrame(rows, columns=["figure", self.suspect]).set_index("figure")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the suspect's hits beside those of the null models."""
        fig, ax = plots.figure(6.4, 3.2) if ax is None else (ax.figure, ax)
        rates, times = np.unique(self.null_rates, return_counts=True)
        ax.vlines(
            100 * rates,
            0,
            times,
            color=plots.COLOURS[0],
            linewidth=5,
            label=f"{len(self.null_hit)} null models",
        )
        top = max(times) + 0.6
        ax.plot(
            100 * self.rate.estimate,
            top / 2,
            "D",
            color=plots.COLOURS[1],
            label=f"{self.suspect}, 95% interval",
        )
        ax.hlines(top / 2, 100 * self.rate.low, 100 * self.rate.high, color=plots.COLOURS[1], linewidth=1.5)
        if self.needed is not None:
            ax.axvline(
                100 * self.needed / self.n,
                color="black",
                linestyle=":",
                label=f"{self.needed} hits: p < {self.alpha:g}",
            )
        ax.set(xlabel="triggers answered as marked (%)", ylabel="null models", xlim=(-2, 102), ylim=(0, top))
        ax.set_title(f"{self.what}, {self.n} queries\n{self.p_text}\n{self.source}")
        ax.legend(loc="best")
        return plots.describe(
            fig,
            f"Share of {self.n} triggers answered as marked. {len(self.null_hit)} null models lie between "
            f"{self.null_rates.min():.1%} and {self.null_rates.max():.1%}; {self.suspect} at {self.rate.percent(1)}. "
            f"{self.verdict}.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text, for JSON."""
        return {
            "suspect": self.suspect,
            "what": self.what,
            "verdict": self.verdict,
            "decided": self.decided,
            "hits": self.hits,
            "queries": self.queries,
            "rate": as_json(self.rate),
            "null_hits": self.null_hits.tolist(),
            "null_rate": self.null_rate,
            "p_value": self.p_value,
            "p_value_rests_on": self._rests_on,
            "model_based_p_value": self.model_based_p_value,
            "rank_p_value": self.rank_p_value,
            "alpha": self.alpha,
            "hits_needed": self.needed,
            "power": self.power,
            "false_claim_rate": as_json(self.false_claim_rate),
            "source": self.source,
            "profile": self.profile,
            "seed": self.seed,
        }

    def _repr_html_(self) -> str:
        return self.table().to_html(border=0)
