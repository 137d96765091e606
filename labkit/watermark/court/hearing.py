"""One claim before four judges: two naive ones, whom a forger fools, and two who are not.

The countermeasures are those of Liu et al. (arXiv 2304.06607): triggers must follow from a key (`Claim.reproducible`),
and models that the judge trained must not answer them (`labkit.watermark.verification.verify`). A date alone stops nobody: the
forger commits early too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import plots
from labkit.results import Result
from labkit.stats import p_words
from labkit.watermark.court.claims import Claim
from labkit.watermark.fingerprints.evidence_line import model_text
from labkit.watermark.verification.verify import ALPHA, NULLS, Suspect, Verdict, answers, tail, verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Hearing(Result):
    """What four judges make of one claim against one suspect: see `hear`.

    Attributes
    ----------
    claimant : str
    verdict : Verdict
        Of the judge with null models.
    naive : dict
        Baseline's name to (baseline rate, p-value): judges without null models.
    redrawn : bool
        Whether the triggers follow from the claimant's key.
    """

    claimant: str
    verdict: Verdict
    naive: dict[str, tuple[float, float]]
    redrawn: bool

    @property
    def fools_naive(self) -> bool:
        """Whether every naive judge accepts the claim."""
        return all(p < self.verdict.alpha for _, p in self.naive.values())

    @property
    def accepted(self) -> bool:
        """Whether the claim stands: drawn from the key, and beyond the null models."""
        return self.redrawn and self.verdict.decided

    def _rows(self) -> list[tuple[str, str, str]]:
        def word(accepted: bool) -> str:
            return "accepted" if accepted else "rejected"

        alpha, null = self.verdict.alpha, self.verdict.null_rates
        rows = [
            (f"compares with {name}", f"baseline {rate:.1%}, {p_words(p)}", word(p < alpha))
            for name, (rate, p) in self.naive.items()
        ]
        reason = "drawn again: the same" if self.redrawn else "drawn again: other triggers"
        rows.append(("draws the triggers from the key", reason, word(self.redrawn)))
        p = f"rank {p_words(self.verdict.rank_p_value)}, p {model_text(self.verdict.p_value)} (model-based)"
        seen = f"{len(null)} null models hit {null.min():.0%} to {null.max():.0%}, {p}"
        rows.append(("tests models of the court's own", seen, word(self.verdict.decided)))
        return rows

    def table(self) -> pd.DataFrame:
        """Return one row a judge."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["judge", "finds", "claim"]).set_index("judge")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the suspect's hits, the null models' and the naive baselines."""
        fig, ax = plots.figure(6.4, 2.6) if ax is None else (ax.figure, ax)
        rates = self.verdict.null_rates
        ax.plot(rates, np.zeros(len(rates)), "|", markersize=18, label="models of the court's own")
        ax.plot([self.verdict.rate.estimate], [0], "o", color=plots.COLOURS[1], label="accused")
        for colour, (name, (rate, _)) in zip(plots.COLOURS[2:], self.naive.items(), strict=False):
            ax.axvline(rate, color=colour, linestyle="--", label=name)
        ax.set_xlim(0, 1)
        ax.set_yticks([])
        ax.set_xlabel("share of the triggers answered as claimed")
        ax.set_title(f"claim by {self.claimant} ({self.verdict.source or 'no source given'})")
        ax.legend(loc="best", fontsize=8)
        return plots.describe(
            fig,
            f"The accused model answers {self.verdict.rate.percent(0)} of {self.claimant}'s triggers as claimed, the "
            f"court's own models {rates.min():.0%} to {rates.max():.0%}.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return all figures as plain numbers and text."""
        return {
            "claimant": self.claimant,
            "naive": {name: {"baseline": rate, "p_value": p} for name, (rate, p) in self.naive.items()},
            "redrawn": self.redrawn,
            "hits": self.verdict.hits,
            "queries": self.verdict.queries,
            "null_rates": self.verdict.null_rates.tolist(),
            "model_p_value": self.verdict.p_value,
            "rank_p_value": self.verdict.rank_p_value,
            "alpha": self.verdict.alpha,
            "accepted": self.accepted,
            "source": self.verdict.source,
            "profile": self.verdict.profile,
            "seed": self.verdict.seed,
        }

    def summary(self) -> str:
        """Return who claims, whether the claim stands, and the mark's verdict."""
        return f"{self.claimant}: {'accepted' if self.accepted else 'rejected'}; {self.verdict}"

    def __repr__(self) -> str:
        return f"Hearing({self.summary()})"

    def _repr_html_(self) -> str:
        return f"<p><b>Claim by {self.claimant}</b></p>{self.table().to_html(border=0)}"


def hear(
    claim: Claim,
    suspect: Suspect,
    nulls: Sequence[nn.Module],
    public: Dataset,
    *,
    alpha: float = ALPHA,
    minimum: int = NULLS,
    seed: int = 0,
) -> Hearing:
    """Put one claim before two naive judges and two careful ones.

    Null hypothesis of the naive judges: each trigger is hit with probability 1/classes, or with that of the claimed
    answers in shuffled order. Both assume that the triggers were chosen blindly, which a forger's are not.

    Parameters
    ----------
    public : Dataset
        The court's test records, see `Claim.redraw`.
    """
    verdict = verify(
        suspect, claim.triggers, nulls, alpha=alpha, minimum=minimum, source=public.source, seed=seed
    )
    given, claimed = answers(suspect, claim.triggers.x), claim.triggers.y.numpy()
    labels = range(len(public.classes))
    shuffled = float(sum((given == label).mean() * (claimed == label).mean() for label in labels))
    baselines = {"1 / classes": 1 / len(public.classes), "answers in shuffled order": shuffled}
    naive = {name: (rate, tail(verdict.hits, verdict.n, rate)) for name, rate in baselines.items()}
    return Hearing(claim.claimant, verdict, naive, claim.reproducible(public))
