"""What a court will do, written down before the first query: who, by what lines, at what alpha, and what convicts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from labkit.watermark.verification.redrawn_keys import keys_needed
from labkit.watermark.verification.verify import NULLS

DIRECTIONAL = ("mark", "inference")
SYMMETRIC = ("mistakes", "agreement")
QUERIES = {"mark": 50, "mistakes": 1000, "agreement": 500, "inference": 2000}
ALPHA = 0.01


@dataclass(frozen=True)
class Bound:
    """What a plan is bound to: see `labkit.watermark.court.trial.open_trial`.

    Attributes
    ----------
    suspects : tuple of str
        Name, model's digest (or "an interface"), release, claim and answer of each.
    claims : tuple of str
        Each claimant and commitment.
    shares : int
        Accusations by a line with a direction, each counted once per commitment that its claimant announced.
    nulls : tuple of str
        Digests of the null models, all different.
    questions : tuple of str
        Digests of the records and triggers that will be asked.
    judge, notary : str
        Hash of the judge's secret, and the notary's public key.
    """

    suspects: tuple[str, ...]
    claims: tuple[str, ...]
    shares: int
    nulls: tuple[str, ...]
    questions: tuple[str, ...]
    judge: str
    notary: str


@dataclass(frozen=True)
class Plan:
    """What a court will do, fixed before the first query.

    Attributes
    ----------
    queries : dict
        Line of evidence (a key of `QUERIES`) to the number of records a suspect is shown; lines left out are not asked.
        The mark's number counts the owner's triggers; as many are asked for each redrawn key.
    alpha : float
        Probability to convict any innocent suspect in the whole trial.
    needed : int
        Lines that must speak against a suspect before it counts as derived from the claimant's model. Shared mistakes
        and agreement count as one, and at least one line must have a direction.
    minimum : int
        Null models below which the court does not sit; with fewer than 20 it rehearses and convicts nobody.
    seed : int
        Fixes which records are drawn.
    bound : Bound or None
        Whom and what the plan is for; None until a trial is opened.

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
    bound: Bound | None = None

    def __post_init__(self) -> None:
        unknown = set(self.queries) - set(QUERIES)
        if unknown or not self.queries or min(self.queries.values()) < 20:
            raise ValueError(
                f"queries is {self.queries}; expected at least 20 for each of some of {', '.join(QUERIES)}"
            )
        if not 0 < self.alpha < 1 or not 1 <= self.needed <= self.most:
            raise ValueError(
                f"got alpha={self.alpha}, needed={self.needed}; expected alpha in (0, 1), and 1 to {self.most} lines "
                "(shared mistakes and agreement count as one)"
            )

    @property
    def directional(self) -> tuple[str, ...]:
        """The lines asked that tell who copied whom."""
        return tuple(line for line in DIRECTIONAL if line in self.queries)

    @property
    def most(self) -> int:
        """How many lines can speak, those without a direction counted as one."""
        return len(self.directional) + bool(set(SYMMETRIC) & set(self.queries))

    @property
    def digest(self) -> str:
        """SHA-256 of the whole plan as JSON: let somebody else sign it before the first query."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def threshold(self, accusations: int) -> float:
        """Return the alpha of one line against one of so many suspects (Bonferroni).

        Only lines with a direction can convict, so they alone share alpha.
        """
        return self.alpha / (accusations * max(1, len(self.directional)))

    def redraws(self, accusations: int) -> int:
        """Return the redrawn keys that the mark's p-value needs to reach the threshold at all."""
        return keys_needed(self.threshold(accusations))

    def faults(self) -> list[str]:
        """Return what a careful opponent would hold against the plan; an empty list if nothing."""
        found = []
        if self.minimum < NULLS:
            found.append(
                f"it sits with {self.minimum} null models; {NULLS} are needed to know what innocents do"
            )
        if self.alpha > ALPHA:
            found.append(
                f"alpha is {self.alpha:g}: up to one trial of innocents in {1 / self.alpha:.0f} convicts one"
            )
        if self.needed < 2:
            found.append("one line alone convicts: a flaw in its assumptions convicts with it")
        if not self.directional:
            found.append(
                "no line tells who copied whom, so nobody can be convicted: add the mark or dataset inference"
            )
        if not set(SYMMETRIC) & set(self.queries):
            found.append("a thief who removed the mark is not seen: add shared mistakes or agreement")
        return found
