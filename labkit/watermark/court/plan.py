"""What a court will do, written down before the first query: lines of evidence, queries, alpha, and what convicts."""

from __future__ import annotations

from dataclasses import dataclass, field

from labkit import cache
from labkit.watermark.verification.verify import ALPHA, NULLS

QUERIES = {"mark": 200, "mistakes": 1000, "agreement": 500, "inference": 2000}


@dataclass(frozen=True)
class Plan:
    """What a court will do, fixed before the first query.

    Attributes
    ----------
    queries : dict
        Line of evidence (a key of `QUERIES`) to the number of records a suspect is shown; lines left out are not asked.
    alpha : float
        Probability to speak against any innocent suspect by any line, all together.
    needed : int
        Lines that must speak against a suspect before it counts as derived from the claimant's model.
    minimum : int
        Null models below which the court does not sit; with fewer than 20 it rehearses and convicts nobody.
    seed : int
        Fixes which records are drawn.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    queries: dict[str, int] = field(default_factory=lambda: dict(QUERIES))
    alpha: float = ALPHA
    needed: int = 2
    minimum: int = NULLS
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.queries) - set(QUERIES)
        if unknown or not self.queries or min(self.queries.values()) < 20:
            raise ValueError(
                f"queries is {self.queries}; expected at least 20 for each of some of {', '.join(QUERIES)}"
            )
        if not 0 < self.alpha < 1 or not 1 <= self.needed <= len(self.queries):
            raise ValueError(
                f"got alpha={self.alpha}, needed={self.needed}; expected alpha in (0, 1), and 1 to {len(self.queries)} lines"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the plan: sign it before the first query."""
        return cache.digest(self)

    def threshold(self, suspects: int) -> float:
        """Return the alpha of one line against one of so many suspects (Bonferroni)."""
        return self.alpha / (suspects * len(self.queries))

    def faults(self) -> list[str]:
        """Return what a careful opponent would hold against the plan; an empty list if nothing."""
        found = []
        if self.minimum < NULLS:
            found.append(
                f"it sits with {self.minimum} null models; {NULLS} are needed to know what innocents do"
            )
        if self.alpha > 0.01:
            found.append(f"alpha is {self.alpha:g}: one innocent in {1 / self.alpha:.0f} trials is accused")
        if self.needed < 2:
            found.append("one line alone convicts: a flaw in its null models convicts with it")
        if not {"mark", "inference"} & set(self.queries):
            found.append("no line tells who copied whom: add the mark or dataset inference")
        if not {"mistakes", "agreement"} & set(self.queries):
            found.append("a thief who removed the mark is not seen: add shared mistakes or agreement")
        return found
