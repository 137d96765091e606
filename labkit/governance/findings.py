"""What a review says: findings by severity, figures with their intervals, and one outcome for each check.

An outcome is one of four, and silence is none of them: *passed*, *findings*, *not run* (with the reason) or *does not
apply* (with the reason).

Examples
--------
>>> found = Finding("δ is too large", "critical", "δ = 0.1 with 50 records", "labkit.dp.privacy_statement")
>>> Outcome("statement", "The statement", "Is it complete?", findings=(found,)).status
'findings'
>>> Outcome("marks", "The mark", "Is it there?", why="the budget was spent", ran=False).status
'not run'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkit.results import as_json
from labkit.stats import Interval

SEVERITIES = ("critical", "high", "medium", "low", "note")
STATUSES = ("findings", "not run", "passed", "does not apply")
MEANING = {
    "critical": "a claim that the measurement contradicts, or a promise that cannot hold: reject",
    "high": "harm that was shown, or a claim that is not supported: a condition to meet before release",
    "medium": "evidence that is missing or too weak: a condition to meet before release",
    "low": "worth knowing, no condition",
    "note": "for the record",
}


class ReviewError(ValueError):
    """Something that a review cannot be made of; the message names it and the way out."""


@dataclass(frozen=True)
class Measure:
    """One figure that was measured or computed.

    Attributes
    ----------
    what : str
        With its unit.
    value : str
        As people read it, with its interval where chance plays a part.
    of : str
        What the interval is an interval of, or how an exact figure came about.
    """

    what: str
    value: str
    of: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, with the text for those who cannot see it."""

    png: bytes
    alt: str


@dataclass(frozen=True)
class Finding:
    """One thing that the board has to know.

    Attributes
    ----------
    title : str
    severity : {"critical", "high", "medium", "low", "note"}
        See `MEANING`.
    evidence : str
        One or two sentences made from what was measured or stated.
    found_by : str
        The function that found it.
    interval : Interval or None
        Of the figure that decided, where chance has a part in it.
    interval_of : str
        What it is an interval of.
    condition : str
        What has to be done: needed for "high" and "medium", which become conditions.
    refs : tuple of str
        Provisions that ask for the control: pointers for a lawyer, no legal advice.

    Raises
    ------
    ReviewError
        If a field is empty or unknown, or a condition is missing.
    """

    title: str
    severity: str
    evidence: str
    found_by: str
    interval: Interval | None = None
    interval_of: str = ""
    condition: str = ""
    refs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ReviewError(
                f"{self.title}: severity {self.severity!r}; expected one of {', '.join(SEVERITIES)}"
            )
        for name in ("title", "evidence", "found_by"):
            if not getattr(self, name).strip():
                raise ReviewError(f"{self.title or 'a finding'}: {name} is empty; expected words")
        if self.severity in ("high", "medium") and not self.condition.strip():
            raise ReviewError(
                f"{self.title}: severity {self.severity} needs a condition: what has to be done?"
            )
        if self.interval is not None and not self.interval_of.strip():
            raise ReviewError(f"{self.title}: say what the interval is an interval of")

    @property
    def value(self) -> str:
        """The figure that decided, with its interval, as text; empty where there is none."""
        return "" if self.interval is None else f"{self.interval} ({self.interval.confidence:.0%} interval)"

    def numbers(self) -> dict[str, Any]:
        """Return every field, for JSON."""
        return as_json(self)


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes
    ----------
    name, title, question : str
        Of the check.
    measures : tuple of Measure
    findings : tuple of Finding
        The worst first.
    why : str
        Reason, where the check was not run or does not apply.
    ran, applies : bool
    essential : bool
        Without it nothing is known: a review in which it could not be run ends in "reject".
    functions : tuple of str
        Functions of labkit that answered.
    pictures : tuple of Picture
    conditions_of_run : str
        Data source, profile, seeds.
    seconds : float
    """

    name: str
    title: str
    question: str
    measures: tuple[Measure, ...] = ()
    findings: tuple[Finding, ...] = ()
    why: str = ""
    ran: bool = True
    applies: bool = True
    essential: bool = False
    functions: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    conditions_of_run: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not (self.ran and self.applies) and not self.why.strip():
            raise ReviewError(f"check {self.name!r} was not run: say why")
        if self.ran and self.applies and not (self.measures or self.findings):
            raise ReviewError(
                f"check {self.name!r} measured nothing and found nothing: it was not run, say why"
            )
        ordered = sorted(self.findings, key=lambda one: SEVERITIES.index(one.severity))
        object.__setattr__(self, "findings", tuple(ordered))

    @property
    def status(self) -> str:
        """One of `STATUSES`; findings of low severity leave a check "passed"."""
        if not self.applies:
            return "does not apply"
        if not self.ran:
            return "not run"
        return "findings" if any(weighs(one) for one in self.findings) else "passed"

    def numbers(self) -> dict[str, Any]:
        """Return everything but the pictures, for JSON."""
        return {
            "check": self.name,
            "status": self.status,
            "why": self.why,
            "measures": as_json(list(self.measures)),
            "findings": [one.numbers() for one in self.findings],
            "functions": list(self.functions),
            "conditions of the run": self.conditions_of_run,
            "pictures": [one.alt for one in self.pictures],
        }


def weighs(finding: Finding) -> bool:
    """Return whether a finding has a part in the decision."""
    return finding.severity in ("critical", "high", "medium")
