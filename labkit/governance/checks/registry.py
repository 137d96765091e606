"""All checks of a review, in the order in which they run: what costs nothing first."""

from __future__ import annotations

from labkit.governance.checks import (
    accounting,
    conformance,
    digests,
    mark,
    membership,
    one_run,
    per_record,
    record,
    sampler,
    shadow_attacks,
    statement,
    submitted,
    threats,
    utility,
)
from labkit.governance.checks.base import Check

CHECKS: tuple[Check, ...] = (
    digests.CHECK,
    statement.CHECK,
    accounting.CHECK,
    sampler.CHECK,
    per_record.CHECK,
    submitted.CHECK,
    utility.CHECK,
    membership.CHECK,
    mark.CHECK,
    record.CHECK,
    conformance.CHECK,
    threats.CHECK,
    one_run.CHECK,
    shadow_attacks.CHECK,
)
ANSWERED = {item: check.name for check in CHECKS for item in check.answers}
