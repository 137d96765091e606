"""One suspect in court: who accuses it, what each line of evidence says, and whether that convicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.watermark.court.claims import Claim
from labkit.watermark.court.plan import DIRECTIONAL, SYMMETRIC
from labkit.watermark.fingerprints.evidence_line import Line
from labkit.watermark.verification.verify import Suspect

LEAST_ANSWERED = 0.5  # share of the questions below which there is no verdict


@dataclass(frozen=True, eq=False)
class Accused:
    """A suspect, who accuses it, and when it appeared (a time with its zone, or None if unknown).

    Attributes
    ----------
    answer : Claim or None
        The accused's own claim: to an original with a mark, or to this very model, deposited before the claimant's.
    """

    name: str
    model: Suspect = field(repr=False)
    claim: Claim
    released: datetime | None = None
    answer: Claim | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """What the court found about one suspect.

    Attributes
    ----------
    lines : dict
        Line's name to its result; lines that could not be asked are absent, and `findings` says why.
    problems : tuple of str
        Why the claim is dismissed, if it is.
    needed : int
    findings : tuple of str
        What else the court saw: refusals, evasions, lines that could not be asked.
    answered : float
        Share of the questions that the suspect answered.
    excuse : str
        The accused's own claim, where it stands; empty otherwise.
    """

    name: str
    claimant: str
    lines: dict[str, Line]
    problems: tuple[str, ...]
    needed: int
    findings: tuple[str, ...] = ()
    answered: float = 1.0
    excuse: str = ""

    @property
    def speaking(self) -> list[str]:
        """Lines that speak against the suspect."""
        return [name for name, line in self.lines.items() if line.decided]

    @property
    def outcome(self) -> str:
        """One of: dismissed, derived, answered, related, no verdict, not shown; see `verdict`."""
        if self.problems:
            return "dismissed"
        directed = [name for name in self.speaking if name in DIRECTIONAL]
        alike = any(name in SYMMETRIC for name in self.speaking)
        if directed and len(directed) + alike >= self.needed:
            return "answered" if self.excuse else "derived"
        if self.answered < LEAST_ANSWERED:
            return "no verdict"
        return "related" if alike and not directed else "not shown"

    @property
    def derived(self) -> bool:
        """Whether the suspect counts as derived from the claimant's model."""
        return self.outcome == "derived"

    @property
    def verdict(self) -> str:
        """One sentence, without the findings."""
        spoke = ", ".join(self.speaking) or "no line"
        whence = "model" if "mark" in self.speaking else "model or private records"
        return {
            "dismissed": f"claim dismissed: {'; '.join(self.problems)}",
            "derived": f"derived from {self.claimant}'s {whence} ({spoke})",
            "answered": f"not shown: {self.excuse}",
            "related": f"related to {self.claimant}'s model ({spoke}); who came from whom is not shown",
            "no verdict": f"no verdict: the suspect answered {self.answered:.0%} of the questions",
            "not shown": f"not shown ({spoke} of {self.needed} needed)",
        }[self.outcome]

    @property
    def queries(self) -> int:
        return sum(line.queries for line in self.lines.values())

    def numbers(self) -> dict[str, Any]:
        """Return all findings about the suspect as plain numbers and text."""
        lines = {
            name: {"p_value": line.p_value, "rests_on": line.by, "model_p_value": line.model_p}
            | {"rank_p_value": line.rank_p_value, "decided": line.decided, "queries": line.queries}
            for name, line in self.lines.items()
        }
        return {
            "suspect": self.name,
            "claimant": self.claimant,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "answered": self.answered,
            "findings": list(self.findings),
            "lines": lines,
        }

    def __repr__(self) -> str:
        found = f" [{'; '.join(self.findings)}]" if self.findings else ""
        return f"Case({self.name}: {self.verdict}{found})"
