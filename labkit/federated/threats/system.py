"""The system under attack: hospitals, terms, model and marks, as one value that every part of the analysis takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.federated.rounds import Federation


@dataclass(frozen=True, eq=False)
class System:
    """What is analysed.

    Attributes
    ----------
    federation : Federation
        As it would be deployed: its noise, its training, its marks.
    enrolment : object or None
        The hospitals' marks as they were enrolled (`labkit.federated.marks`); None where nobody is marked.
    """

    federation: Federation
    enrolment: Any = None

    def describe(self) -> str:
        """Return the system in one sentence: data, hospitals, training, noise, marks."""
        federation = self.federation
        noise, training = federation.noise, federation.training
        promise = noise.statement(training.rounds) if noise.placement != "none" else None
        private = f"noise placed {noise.placement}: {promise}, unit {noise.unit}" if promise else "no noise"
        marked = f"{len(federation.marks)} hospitals marked" if federation.marks else "no marks"
        return (
            f"{len(federation.hospitals)} hospitals train one model of {federation.dimension:,} weights in "
            f"{training.rounds} rounds (kind {training.kind}, threshold {noise.threshold}); {private}; {marked}."
        )
