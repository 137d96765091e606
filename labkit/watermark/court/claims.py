"""A claim of ownership, and whether a judge should hear it: what was committed to, when, and can it be drawn again?

The judge draws the triggers from the key and takes no pictures from anybody: what was optimised cannot be drawn (Liu et
al., "False claims against model ownership resolution", arXiv 2304.06607). Nor may anything else be chosen late: options
are those that the kind of mark knows, and with the number of triggers and the training records they stand in the
commitment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit.watermark.court.commitments import Commitment, commit, records_root
from labkit.watermark.court.deposits import Deposit, Notary
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel, TriggerSet

if TYPE_CHECKING:
    from labkit.data import Dataset


def options_of(kind: str) -> set[str]:
    """Return the options that triggers of a kind may be drawn with in court: numbers and words, no pictures."""
    known = triggers.EVERY.get(kind)
    return set() if known is None else {*known.options, "target"}


@dataclass(frozen=True, eq=False, repr=False)
class Claim:
    """What a claimant brings to court.

    Attributes
    ----------
    claimant : str
    model : nn.Module
        The model that the claimant says is the original.
    key : Key
    triggers : TriggerSet
        What the claimant says the key gives.
    commitment : Commitment or None
    records : Dataset
        Train records: the claimant's own; test records: held out.
    options : dict
        What `labkit.watermark.marks.triggers.draw` needs beside kind, key and count: see `options_of`.
    deposit : Deposit or None
        A notary's receipt: without it the commitment is dated by the claimant alone.
    """

    claimant: str
    model: nn.Module
    key: Key
    triggers: TriggerSet
    commitment: Commitment | None
    records: Dataset
    options: dict[str, Any] = field(default_factory=dict)
    deposit: Deposit | None = None

    def __repr__(self) -> str:
        when = self.deposit.moment if self.deposit else "never deposited"
        return (
            f"Claim({self.claimant}: {len(self.triggers)} {self.triggers.kind} triggers, {self.key}, {when})"
        )

    @property
    def drawable(self) -> bool:
        """Whether the keyed generator knows this kind of trigger."""
        return self.triggers.kind in triggers.EVERY

    @property
    def moment(self) -> datetime | None:
        """When the commitment was deposited, or None."""
        return None if self.deposit is None else self.deposit.when

    def drawing(self, public: Dataset) -> dict[str, Any]:
        """Return the arguments that `triggers.draw` is called with in court, beside key and count.

        Raises
        ------
        ValueError
            If the kind is not one of the keyed generator's, or an option is none of the kind's.
        """
        kind = self.triggers.kind
        if not self.drawable:
            raise ValueError(
                f"{kind!r} triggers are none of the keyed generator's ({', '.join(triggers.EVERY)}): "
                "a court cannot draw them"
            )
        options = dict(self.options)
        plain = all(isinstance(value, str | int | float | bool) for value in options.values())
        if (strange := set(options) - options_of(kind)) or not plain:
            raise ValueError(
                f"options {', '.join(sorted(strange or options))} are not for a claimant to choose; {kind} triggers have "
                f"{', '.join(sorted(options_of(kind)))}, each a number or a word"
            )
        base = replace(self.records, test_x=public.test_x, test_y=public.test_y, digest="not hashed")
        return {"dataset": base, **options}

    def redraw(self, public: Dataset) -> TriggerSet:
        """Return the triggers that follow from the key, made from the court's test records.

        Raises
        ------
        ValueError
            As `drawing`.
        """
        settings = self.drawing(public)
        return triggers.draw(self.triggers.kind, self.key, len(self.triggers), **settings)

    def reproducible(self, public: Dataset) -> bool:
        """Say whether the triggers brought are those that the key gives, to 1e-5: of a pixel's range, or of a large value."""
        try:
            drawn = self.redraw(public)
        except ValueError:
            return False
        brought = self.triggers
        if drawn.x.shape != brought.x.shape or not torch.equal(drawn.y, brought.y):
            return False
        if not drawn.x.is_floating_point():  # tokens have no neighbours
            return torch.equal(drawn.x, brought.x)
        return bool(((drawn.x - brought.x).abs() < 1e-5 * drawn.x.abs().clamp(min=1)).all())

    def problems(
        self, public: Dataset, *, notary: str, released: datetime | None = None, dated: bool = True
    ) -> list[str]:
        """Return why a court should not hear the claim; an empty list if it should.

        Parameters
        ----------
        public : Dataset
            The court's test records.
        notary : str
            The public key of the notary whom the court trusts.
        released : datetime with a time zone, or None
            When the suspect appeared: the deposit must be older.
        dated : bool
            Whether the deposit is held against ``released``; False where there is no suspect.
        """
        found = self._binding() if self.commitment else ["nothing was committed to"]
        if self.commitment and self.deposit is None:
            found.append("no notary has dated the commitment: its moment is the claimant's own word")
        elif self.commitment:
            found += self.deposit.problems(self.commitment, notary)
            if dated:
                found += self._late(released)
        if not self.reproducible(public):
            found.append("the triggers do not follow from the key: they may have been chosen or optimised")
        return found

    def _binding(self) -> list[str]:
        """Return what was left open, or was committed to otherwise."""
        made, found = self.commitment, []
        if not made.claimant or made.claimant != self.claimant:
            found.append(f"the commitment is {made.claimant or 'nobody'}'s, not {self.claimant}'s")
        found += made.problems(self.key, self.model)
        brought = {
            "kind": (made.kind, self.triggers.kind),
            "options": (made.options, self.options),
            "number of triggers": (made.count, len(self.triggers)),
        }
        found += [
            f"{what}: {then} was committed to, {now} is brought"
            for what, (then, now) in brought.items()
            if then != now
        ]
        if made.records != records_root(self.records, self.key):
            found.append("the training records are not those that were committed to")
        return found

    def _late(self, released: datetime | None) -> list[str]:
        if released is None or released.tzinfo is None:
            return ["nobody knows when the suspect appeared: the commitment is not shown to be older"]
        if self.moment is not None and self.moment >= released:
            return [f"deposited at {self.deposit.moment}, not before the suspect's release at {released}"]
        return []


def bring(
    claimant: str,
    marked: MarkedModel,
    records: Dataset,
    *,
    notary: Notary | None = None,
    moment: datetime | None = None,
    **options: Any,
) -> Claim:
    """Return an owner's claim, committed to and deposited now or at ``moment``.

    Parameters
    ----------
    marked : MarkedModel
        From a scheme with triggers.
    records : Dataset
        What the model was trained on.
    notary : Notary, optional
        Where the commitment is deposited; without one a court will not hear the claim.
    **options
        Those that were given to `labkit.watermark.embed` and change the triggers, such as ``target``.

    Raises
    ------
    ValueError
        If the scheme has no triggers.
    """
    if marked.triggers is None:
        raise ValueError(f"scheme {marked.scheme!r} has no triggers: a claim by queries needs them")
    return claim_on(
        claimant, marked.model, marked.key, marked.triggers, records, notary=notary, moment=moment, **options
    )


def claim_on(
    claimant: str,
    model: nn.Module,
    key: Key,
    brought: TriggerSet,
    records: Dataset,
    *,
    notary: Notary | None = None,
    moment: datetime | None = None,
    **options: Any,
) -> Claim:
    """Return a claim with triggers that are there already, however they were made: see `bring`."""
    commitment = commit(
        key,
        model,
        kind=brought.kind,
        claimant=claimant,
        options=options,
        count=len(brought),
        records=records,
        moment=moment,
    )
    deposit = None if notary is None else notary.deposit(commitment, moment=moment)
    return Claim(claimant, model, key, brought, commitment, records, options, deposit)
