"""Checks of lab 13, third part: what follows from findings, and from checks that could not be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from itertools import product

from labkit.course.exercises.exercise import Wrong, exercise
from labkit.governance.decision import APPROVE, CONDITIONS, REJECT, decide
from labkit.governance.findings import SEVERITIES, Finding, Measure, Outcome

VERDICTS = (APPROVE, CONDITIONS, REJECT)


def reference_decide(severities: Sequence[str], not_run: Sequence[bool]) -> str:
    """Return the verdict by the rules of `labkit.governance.decision`."""
    if "critical" in severities or any(not_run):
        return REJECT
    weighty = {"high", "medium"} & set(severities)
    return CONDITIONS if weighty or len(not_run) else APPROVE


def _by_labkit(severities: Sequence[str], not_run: Sequence[bool]) -> str:
    """Return what labkit's own board decides about such findings."""
    findings = tuple(
        Finding(f"finding {i}", s, "seen", "a test", condition="mend it") for i, s in enumerate(severities)
    )
    outcomes = [Outcome("ran", "Ran", "?", measures=(Measure("m", "1"),), findings=findings)]
    outcomes += [
        Outcome(f"check {i}", f"Check {i}", "?", why="no budget", ran=False, essential=essential)
        for i, essential in enumerate(not_run)
    ]
    return decide(outcomes, made=date(2026, 1, 1)).verdict


def _cases() -> list[tuple[tuple[str, ...], tuple[bool, ...]]]:
    """Return findings and missing checks: each alone, and all pairs."""
    found = [
        (),
        *((one,) for one in SEVERITIES),
        ("low", "high"),
        ("note", "low"),
        ("medium", "critical", "low"),
    ]
    missing = [(), (False,), (True,), (False, True), (False, False)]
    return list(product(found, missing))


@exercise(
    "13.decide",
    title="what follows?",
    reference=reference_decide,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_decide(attempt: Callable) -> None:
    """Against labkit's own board, on every kind of finding and of missing check."""
    for severities, not_run in _cases():
        given = {"severities": list(severities), "not_run": list(not_run)}
        got = attempt(list(severities), list(not_run))
        expected = _by_labkit(severities, not_run)
        if got == expected:
            continue
        if got not in VERDICTS:
            because = f"return one of {', '.join(map(repr, VERDICTS))}"
        elif "critical" in severities:
            because = "a claim is contradicted, or a promise cannot hold: no condition mends that"
        elif any(not_run):
            because = "an essential check could not be run (True): nobody knows what would be approved"
        elif not_run and got == APPROVE:
            because = "a check could not be run: that is no finding, and no pass either"
        elif not_run and got == REJECT:
            because = "a check that is not essential could not be run: it becomes a condition, to be run before release"
        elif expected == APPROVE:
            because = "nothing above low was found, and everything was run: worth knowing is no condition"
        elif got == REJECT:
            because = "high and medium can be mended: they are conditions to meet before release"
        else:
            because = "a finding of high or medium severity is left: somebody has to meet a condition first"
        raise Wrong(given=given, got=got, expected=expected, because=because)
