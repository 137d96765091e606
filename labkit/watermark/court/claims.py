"""A claim of ownership, and whether a judge should hear it: what was committed to, when, and can it be drawn again?

The judge draws the triggers from the key and takes no pictures from anybody: what was optimised cannot be drawn (Liu et
al., "False claims against model ownership resolution", arXiv 2304.06607).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from labkit.watermark.court.commitments import Commitment, commit
from labkit.watermark.marks import triggers
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import MarkedModel, TriggerSet

if TYPE_CHECKING:
    from labkit.data import Dataset


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
        What `labkit.watermark.marks.triggers.draw` needs beside kind, key and count; ``source`` keeps base records to one
        class (entangled marks).
    """

    claimant: str
    model: nn.Module
    key: Key
    triggers: TriggerSet
    commitment: Commitment | None
    records: Dataset
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        when = self.commitment.moment if self.commitment else "never committed"
        return (
            f"Claim({self.claimant}: {len(self.triggers)} {self.triggers.kind} triggers, {self.key}, {when})"
        )

    @property
    def drawable(self) -> bool:
        """Whether the keyed generator knows this kind of trigger."""
        return self.triggers.kind in triggers.KINDS

    def redraw(self, public: Dataset) -> TriggerSet:
        """Return the triggers that follow from the key, made from the court's test records.

        Raises
        ------
        ValueError
            If the kind is not one of the keyed generator's.
        """
        if not self.drawable:
            raise ValueError(
                f"{self.triggers.kind!r} triggers are none of the keyed generator's ({', '.join(triggers.KINDS)}): "
                "a court cannot draw them"
            )
        options = dict(self.options)
        base = replace(self.records, test_x=public.test_x, test_y=public.test_y, digest="not hashed")
        if (source := options.pop("source", None)) is not None:
            of_class = public.test_y == source
            options |= {"base_x": public.test_x[of_class], "base_y": public.test_y[of_class]}
        return triggers.draw(self.triggers.kind, self.key, len(self.triggers), dataset=base, **options)

    def reproducible(self, public: Dataset) -> bool:
        """Say whether the triggers brought are those that the key gives (to 1e-5 of the pixels' range)."""
        try:
            drawn = self.redraw(public)
        except ValueError:
            return False
        brought = self.triggers
        same_shape = drawn.x.shape == brought.x.shape
        return (
            same_shape and torch.equal(drawn.y, brought.y) and bool((drawn.x - brought.x).abs().max() < 1e-5)
        )

    def problems(self, public: Dataset, *, released: datetime | None = None) -> list[str]:
        """Return why a court should not hear the claim; an empty list if it should.

        Parameters
        ----------
        public : Dataset
            The court's test records.
        released : datetime with a time zone, optional
            When the suspect appeared: a commitment must be older.
        """
        found = []
        if self.commitment is None:
            found.append("nothing was committed to")
        else:
            found += self.commitment.problems(self.key, self.model)
            if self.commitment.kind != self.triggers.kind:
                found.append(
                    f"{self.commitment.kind} was committed to, {self.triggers.kind} triggers are brought"
                )
            if released is not None and datetime.fromisoformat(self.commitment.moment) >= released:
                found.append(
                    f"committed at {self.commitment.moment}, not before the suspect's release at {released}"
                )
        if not self.reproducible(public):
            found.append("the triggers do not follow from the key: they may have been chosen or optimised")
        return found


def bring(
    claimant: str,
    marked: MarkedModel,
    records: Dataset,
    *,
    moment: datetime | None = None,
    **options: Any,
) -> Claim:
    """Return an owner's claim, committed to now or at ``moment``.

    Parameters
    ----------
    marked : MarkedModel
        From a scheme with triggers.
    records : Dataset
        What the model was trained on.
    **options
        Those that were given to `labkit.watermark.marks.embed.embed` and change the triggers, such as ``target``.

    Raises
    ------
    ValueError
        If the scheme has no triggers.
    """
    if marked.triggers is None:
        raise ValueError(f"scheme {marked.scheme!r} has no triggers: a claim by queries needs them")
    if marked.scheme == "entangled":
        options = {"target": int(marked.triggers.y[0]), "source": marked.facts["source"], **options}
    commitment = commit(marked.key, marked.model, kind=marked.triggers.kind, moment=moment)
    return Claim(claimant, marked.model, marked.key, marked.triggers, commitment, records, options)
