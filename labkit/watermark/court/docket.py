"""What the court has tried: one plan is tried once, and a key that was opened is burnt.

Who may try the same claim again, one suspect at a time or until it fits, has as many alphas as trials. And whoever heard
a key opened can mark models with it, or take its mark out. So a commitment is opened in one trial; for a further one the
owner commits anew.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.watermark.court.verdicts import Verdicts


class Docket:
    """Trials by their plan's digest, and commitments by the trial that opened them."""

    def __init__(self) -> None:
        self._trials: dict[str, Verdicts] = {}
        self._opened: dict[str, str] = {}

    def tried(self, plan: str) -> Verdicts | None:
        """Return what came of a plan, if it was tried."""
        return self._trials.get(plan)

    def burnt(self, record: str, plan: str) -> str | None:
        """Return why a commitment cannot be opened again, or None."""
        before = self._opened.get(record)
        if before is None or before == plan:
            return None
        return f"its key was opened in an earlier trial (plan {before[:12]}…): commit to a new one"

    def enter(self, verdicts: Verdicts, records: Collection[str]) -> None:
        """Write down a trial and the commitments that were opened in it."""
        self._trials[verdicts.plan.digest] = verdicts
        for record in records:
            self._opened.setdefault(record, verdicts.plan.digest)


DOCKET = Docket()  # of this process: what is tried without a docket of its own
