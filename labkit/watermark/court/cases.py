"""One suspect in court: who accuses it, what each line of evidence says, and whether that convicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from labkit.watermark.court.claims import Claim
from labkit.watermark.fingerprints.evidence_line import Line
from labkit.watermark.verification.verify import Suspect, Verdict


@dataclass(frozen=True, eq=False)
class Accused:
    """A suspect, who accuses it, and when it appeared (a time with its zone, or None if unknown)."""

    name: str
    model: Suspect = field(repr=False)
    claim: Claim
    released: datetime | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """What the court found about one suspect.

    Attributes
    ----------
    lines : dict
        Line's name to its result; the mark is absent if no triggers follow from the claimant's key.
    problems : tuple of str
        Why the claim is dismissed, if it is.
    """

    name: str
    claimant: str
    lines: dict[str, Line | Verdict]
    problems: tuple[str, ...]
    needed: int

    @property
    def speaking(self) -> list[str]:
        """Lines that speak against the suspect."""
        return [name for name, line in self.lines.items() if line.decided]

    @property
    def derived(self) -> bool:
        """Whether the suspect counts as derived from the claimant's model."""
        return not self.problems and len(self.speaking) >= self.needed

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.problems:
            return f"claim dismissed: {'; '.join(self.problems)}"
        if self.derived:
            return f"derived from {self.claimant}'s model ({', '.join(self.speaking)})"
        return f"not shown ({', '.join(self.speaking) or 'no line'} of {self.needed} needed)"

    @property
    def queries(self) -> int:
        return sum(line.queries for line in self.lines.values())

    def __repr__(self) -> str:
        return f"Case({self.name}: {self.verdict})"
