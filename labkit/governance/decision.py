"""The decision and the rule that led to it: never "approve" by default.

The rules are tried in this order, and the first that fits decides:

1. **Reject** if any finding is critical: a claim that the measurement contradicts, or a promise that cannot hold.
2. **Reject** if an essential check could not be run: nobody knows what is being approved.
3. **Approve with conditions** if any finding is high or medium, or any other check could not be run. Each becomes a
   condition, to be met before release and shown by running the review again.
4. **Approve** if every check that applies ran, and found nothing above "low".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from labkit.governance.findings import Finding, Outcome, ReviewError

APPROVE, CONDITIONS, REJECT = "approve", "approve with conditions", "reject"
RULES = {
    1: "a finding is critical",
    2: "an essential check could not be run",
    3: "there are findings of weight, or checks that could not be run: each is a condition",
    4: "every check that applies ran, and none found anything above low",
}
DAYS = {APPROVE: 365, CONDITIONS: 90}  # that a decision lasts, unless the project asks for less


@dataclass(frozen=True)
class Decision:
    """What the board is told to do, and why.

    Attributes
    ----------
    verdict : {"approve", "approve with conditions", "reject"}
    rule : int
        A key of `RULES`.
    reasons : tuple of str
        The findings and checks that the rule fired on.
    conditions : tuple of str
        What has to be done before release; of a reject: before it is submitted again.
    made, expires : str
        Dates, ISO 8601. A reject does not expire: ``expires`` is empty.
    """

    verdict: str
    rule: int
    reasons: tuple[str, ...]
    conditions: tuple[str, ...]
    made: str
    expires: str

    @property
    def why(self) -> str:
        """The rule in words."""
        return f"rule {self.rule}: {RULES[self.rule]}"

    def __str__(self) -> str:
        until = f", until {self.expires}" if self.expires else ""
        return f"{self.verdict.upper()}{until} ({self.why})"


def decide(outcomes: Sequence[Outcome], *, made: date, days: int | None = None) -> Decision:
    """Apply the rules to the outcomes of all checks.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One for every check of the review.
    made : date
    days : int, optional
        That the decision lasts at most.

    Raises
    ------
    ReviewError
        If there is no outcome, or none that ran: there is nothing to decide on.

    Examples
    --------
    >>> from labkit.governance.findings import Measure
    >>> done = Outcome("a", "A", "?", measures=(Measure("x", "1"),))
    >>> left = Outcome("b", "B", "?", why="no time", ran=False)
    >>> str(decide([done], made=date(2026, 1, 1)))
    'APPROVE, until 2027-01-01 (rule 4: every check that applies ran, and none found anything above low)'
    >>> decide([done, left], made=date(2026, 1, 1)).conditions
    ('Run the check "B", which was not run: no time',)
    """
    if not any(one.ran and one.applies for one in outcomes):
        raise ReviewError("no check ran: there is nothing to decide on")
    findings = [finding for one in outcomes for finding in one.findings]
    critical = [one for one in findings if one.severity == "critical"]
    weighty = [one for one in findings if one.severity in ("high", "medium")]
    missing = [one for one in outcomes if one.status == "not run"]
    blind = [one for one in missing if one.essential]
    if critical:
        verdict, rule, reasons = REJECT, 1, [one.title for one in critical]
    elif blind:
        verdict, rule, reasons = REJECT, 2, [f"{one.title}: {one.why}" for one in blind]
    elif weighty or missing:
        reasons = [one.title for one in weighty] + [f"not run: {one.title}" for one in missing]
        verdict, rule = CONDITIONS, 3
    else:
        verdict, rule, reasons = APPROVE, 4, ["nothing above low was found"]
    lasts = min(DAYS.get(verdict, 0), DAYS[APPROVE] if days is None else days)
    return Decision(
        verdict=verdict,
        rule=rule,
        reasons=tuple(reasons),
        conditions=tuple(_conditions(critical + weighty, missing)),
        made=made.isoformat(),
        expires="" if verdict == REJECT else (made + timedelta(days=lasts)).isoformat(),
    )


def _conditions(findings: Sequence[Finding], missing: Sequence[Outcome]) -> list[str]:
    said = [one.condition or f"Correct what contradicts the claim: {one.title}." for one in findings]
    said += [f'Run the check "{one.title}", which was not run: {one.why}' for one in missing]
    return list(dict.fromkeys(said))
