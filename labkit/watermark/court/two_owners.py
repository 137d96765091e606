"""Two owners, one model: who marked it first?

A thief can mark what he stole a second time, or look for a key that happens to fit. Both then show a mark in the suspect
(Adi et al., arXiv 1802.04633, section 3 and Fan et al., "Rethinking deep neural network ownership verification", 2019).
Settled by what a thief cannot do: put his mark into the owner's original, or take the owner's out of his own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from labkit import plots
from labkit.results import Result, as_json
from labkit.stats import p_words
from labkit.watermark.court.claims import Claim
from labkit.watermark.fingerprints.evidence_line import model_text
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.verification.verify import ALPHA, NULLS, Suspect, Verdict, answers, verify

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.data import Dataset


@dataclass(frozen=True, eq=False, repr=False)
class Side:
    """One claimant's case.

    Attributes
    ----------
    problems : tuple of str
        Why the claim should not be heard: see `Claim.problems`.
    in_own, in_suspect, in_rival : Verdict
        Is the claimant's mark in their own original, in the suspect, in the rival's original?
    """

    claim: Claim
    problems: tuple[str, ...]
    in_own: Verdict
    in_suspect: Verdict
    in_rival: Verdict

    @property
    def stands(self) -> bool:
        return not self.problems and self.in_own.decided and self.in_suspect.decided


@dataclass(frozen=True, eq=False, repr=False)
class Dispute(Result):
    """Who owns a model that two claim, and why: see `resolve`.

    Attributes
    ----------
    sides : tuple of two Side
    winner : str or None
        A claimant, or None if the evidence does not decide.
    reason : str
    """

    sides: tuple[Side, Side]
    winner: str | None
    reason: str

    def summary(self) -> str:
        """Return the owner, and why."""
        return f"owner: {self.winner or 'undecided'}: {self.reason}"

    def __repr__(self) -> str:
        return f"Dispute({self.summary()})"

    def table(self) -> pd.DataFrame:
        """Return one column a claimant."""
        import pandas as pd

        def cell(verdict: Verdict) -> str:
            return (
                f"{'yes' if verdict.decided else 'no'}: {verdict.rate.percent(0)}, rank "
                f"{p_words(verdict.rank_p_value)}, p {model_text(verdict.p_value)} (model-based)"
            )

        columns = {
            side.claim.claimant: {
                "deposited": side.claim.deposit.moment if side.claim.deposit else "never",
                "problems": "; ".join(side.problems) or "none",
                "mark in own original": cell(side.in_own),
                "mark in the suspect": cell(side.in_suspect),
                "mark in the rival's original": cell(side.in_rival),
                "owner": "yes" if side.claim.claimant == self.winner else "no",
            }
            for side in self.sides
        }
        return pd.DataFrame(columns)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw how often each mark is found in each model."""
        fig, ax = plots.figure(6.4, 3.4) if ax is None else (ax.figure, ax)
        places = ("in own original", "in the suspect", "in the rival's original")
        for shift, side in zip((-0.18, 0.18), self.sides, strict=True):
            rates = [verdict.rate for verdict in (side.in_own, side.in_suspect, side.in_rival)]
            mid = np.array([rate.estimate for rate in rates])
            ends = [mid - [rate.low for rate in rates], [rate.high for rate in rates] - mid]
            ax.bar(
                np.arange(3) + shift, mid, 0.34, yerr=ends, capsize=3, label=f"{side.claim.claimant}'s mark"
            )
        ax.set_xticks(range(3), places)
        ax.set(ylabel="share of triggers hit (95% interval)", ylim=(0, 1.02))
        ax.set_title(f"owner: {self.winner or 'undecided'} ({self.sides[0].in_own.source})")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        return plots.describe(
            fig,
            f"Marks of two claimants in three models. Owner: {self.winner or 'undecided'}: {self.reason}.",
        )

    def numbers(self) -> dict[str, Any]:
        """Return all findings as plain numbers and text."""
        return {
            "winner": self.winner,
            "reason": self.reason,
            "source": self.sides[0].in_own.source,
            "profile": self.sides[0].in_own.profile,
            "sides": as_json(self.table().to_dict()),
        }

    def _repr_html_(self) -> str:
        return f"<p><b>Owner: {self.winner or 'undecided'}</b>: {self.reason}</p>{self.table().to_html(border=0)}"


def resolve(
    first: Claim,
    second: Claim,
    suspect: Suspect,
    nulls: Sequence[nn.Module],
    public: Dataset,
    *,
    notary: str,
    released: datetime | None = None,
    alpha: float = ALPHA,
    minimum: int = NULLS,
) -> Dispute:
    """Say who of two claimants owns a suspect's original.

    In this order: a claim must be admissible and its mark must be in the claimant's own original and in the suspect;
    whose mark is found in the rival's original came first, unless they deposited later; with no mark in either rival,
    the older deposit decides, and the reason says so. Moments are compared as times, whatever zone they are written in.

    Null hypothesis of each of the six tests, and its assumption: those of `labkit.watermark.verification.verify`; alpha is shared
    out among them (Bonferroni).

    Parameters
    ----------
    public : Dataset
        The court's test records.
    notary : str
        Public key of the notary whose receipts count.
    released : datetime with a time zone, optional
        When the suspect appeared; without it, no deposit is held against it.
    """
    pair = (first, second)
    sides = []
    for claim, rival in (pair, pair[::-1]):
        asked = [
            verify(
                model,
                claim.triggers,
                nulls,
                alpha=alpha / 6,
                minimum=minimum,
                name=name,
                source=public.source,
            )
            for name, model in (("own original", claim.model), ("suspect", suspect), ("rival's", rival.model))
        ]
        problems = claim.problems(public, notary=notary, released=released, dated=released is not None)
        sides.append(Side(claim, tuple(problems), *asked))
    return Dispute(tuple(sides), *_decide(*sides))


def _decide(a: Side, b: Side) -> tuple[str | None, str]:
    """Return (winner or None, reason)."""
    standing = [side for side in (a, b) if side.stands]
    if not standing:
        return None, "neither claim stands"
    if len(standing) == 1:
        fallen = b if standing[0] is a else a
        why = "; ".join(fallen.problems) or "its mark is not proven in its own original and in the suspect"
        return standing[0].claim.claimant, f"the claim of {fallen.claim.claimant} falls: {why}"
    older = min((a, b), key=lambda side: side.claim.moment).claim.claimant
    if a.in_rival.decided == b.in_rival.decided:
        both = (
            "both marks are in both originals" if a.in_rival.decided else "no mark is in the rival's original"
        )
        if a.claim.moment == b.claim.moment:
            return None, f"{both}, and both deposited at the same time"
        return older, f"{both}: the older deposit decides (ask whose mistakes the suspect repeats)"
    earlier = a if a.in_rival.decided else b
    later = b if earlier is a else a
    if earlier.claim.claimant != older:
        return None, (
            f"{earlier.claim.claimant}'s mark is in the original of {later.claim.claimant}, who deposited earlier"
        )
    return older, f"{older}'s mark is in the original of {later.claim.claimant}, and not the other way round"


def lucky_key(
    model: Suspect,
    kind: str,
    records: Dataset,
    *,
    tries: int,
    count: int,
    phrase: str = "lucky",
    **options: Any,
) -> tuple[Key, float]:
    """Return the key, of ``tries`` keys invented after the fact, whose triggers ``model`` hits most, and that share.

    The attack that commitments and null models are there for: with enough tries some key fits any model a little, and
    it fits innocent models as well.

    Raises
    ------
    ValueError
        If ``tries`` is below 1, or as `labkit.watermark.marks.triggers.draw`.
    """
    if tries < 1:
        raise ValueError(f"tries is {tries}; expected at least 1")

    def share(key: Key) -> float:
        drawn = triggers.draw(kind, key, count, dataset=records, **options)
        return float((answers(model, drawn.x) == drawn.y.numpy()).mean())

    keys = [Key.from_phrase(f"{phrase} {number}") for number in range(tries)]
    shares = [share(key) for key in keys]
    best = int(np.argmax(shares))
    return keys[best], shares[best]
