"""Checks of lab 12, second part: a boosted update, a rule that needs updates in clear, and how a finding is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labkit.course.checks.lab12.leaks import array
from labkit.course.exercises.exercise import Wrong, exercise

OPEN = "of an open threat: the worst that is left, by the *upper* end with the control"
ANSWERED = "of an answered threat: what the control averts, by the *lower* end of the attack"
LEVELS = {"low": 0.02, "medium": 0.05, "high": 0.1, "critical": 0.5}


def reference_boosted_update(
    wanted: np.ndarray, others: Mapping[str, np.ndarray], sizes: Mapping[str, int], attacker: str
) -> np.ndarray:
    """Return what to send so that the weighted mean of all updates is ``wanted``."""
    total = sum(sizes.values())
    honest = sum(sizes[name] * update for name, update in others.items())
    return (total * wanted - honest) / sizes[attacker]


@exercise(
    "12.boosted_update",
    title="one hospital writes the global model",
    reference=reference_boosted_update,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_boosted_update(attempt: Callable) -> None:
    """Against the server's own weighted mean."""
    random = np.random.default_rng(0)
    for sizes in ({"A": 30, "B": 120, "C": 50}, {"A": 10, "B": 10}, {"A": 80, "B": 20, "C": 60, "D": 40}):
        wanted, names = random.normal(size=3), list(sizes)
        others = {name: random.normal(size=3) * 0.1 for name in names[1:]}
        given = {"sizes": sizes, "attacker": "A", "wanted": wanted.round(3)}
        sent = {name: update.copy() for name, update in others.items()}
        got = array(attempt(wanted.copy(), sent, dict(sizes), "A"), (3,), given)
        total, own = sum(sizes.values()), sizes["A"]
        expected = reference_boosted_update(wanted, others, sizes, "A")
        if np.allclose(got, expected):
            continue
        honest = sum(sizes[name] * update for name, update in others.items())
        causes = [
            (wanted, "that is the wanted change itself: averaged with the others, little of it is left"),
            (total / own * wanted, "the boost is right, but the others pull, too: take their part off first"),
            (
                len(sizes) * wanted,
                "the server weighs by records, not by heads\nthe factor is (all records) / (own records)",
            ),
            (
                len(sizes) * wanted - sum(others.values()),
                "heads were counted on both sides: each update counts its hospital's records",
            ),
            (
                (total * wanted - sum(others.values())) / own,
                "the others' updates count their records each before they are taken off",
            ),
            (total * wanted - honest, "divide by your own records: the server will multiply by them"),
            ((total * wanted + honest) / own, "the others' part is to be taken off, not added"),
            *[
                (((total - own) * wanted - part) / own, "the mean divides by all records, your own included")
                for part in (0, honest)
            ],
        ]
        mean = (own * got + honest) / total
        otherwise = f"with your update the server's mean is {mean.round(3)}; write that mean with your update as the unknown"
        because = next((text for wrong, text in causes if np.allclose(got, wrong)), otherwise)
        raise Wrong(given=given, got=got.round(3), expected=expected.round(3), because=because)


Rule = Callable[[np.ndarray], np.ndarray]


def reference_needs_clear(rule: Rule, updates: np.ndarray) -> bool:
    """Return whether the rule tells apart two sets of updates with the same sum."""
    random = np.random.default_rng(0)
    before = rule(updates)
    for _ in range(10):
        shift = random.normal(size=updates.shape) * np.abs(updates).max()
        shift -= shift.mean(0)
        if not np.allclose(rule(updates + shift), before, atol=1e-6):
            return True
    return False


def _clipped_sum(updates: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(updates, axis=1, keepdims=True)
    return (updates * np.minimum(1, 1 / norms)).sum(0)


def _closest(updates: np.ndarray) -> np.ndarray:
    """Krum with one neighbour (Blanchard et al. 2017): the update that lies closest to another."""
    gaps = np.linalg.norm(updates[:, None] - updates[None], axis=2) + np.diag(np.full(len(updates), np.inf))
    return updates[gaps.min(1).argmin()]


RULES: dict[str, tuple[Rule, bool, str]] = {
    "the sum": (lambda u: u.sum(0), False, ""),
    "the mean": (lambda u: u.mean(0), False, ""),
    "the sum, scaled to length 1": (lambda u: u.sum(0) / np.linalg.norm(u.sum(0)), False, ""),
    "the median of each coordinate": (
        lambda u: np.median(u, axis=0),
        True,
        "a median changes when one update goes up and another down by as much; did you try sets with the *same sum*?",
    ),
    "the trimmed mean": (
        lambda u: np.sort(u, axis=0)[1:-1].mean(0),
        True,
        "a trimmed mean drops the largest and the smallest: which they are, the sum does not tell",
    ),
    "the sum of updates clipped by the server": (
        _clipped_sum,
        True,
        "a server that clips must see each update; hospitals that clip their own need not show it",
    ),
    "the update closest to another (Krum)": (
        _closest,
        True,
        "distances between updates are not in their sum",
    ),
}


@exercise(
    "12.median_needs_clear",
    title="which rules need updates in clear",
    reference=reference_needs_clear,
    points=3,
    difficulty=3,
    importance=4,
    minutes=15,
)
def check_median_needs_clear(attempt: Callable) -> None:
    """Seven rules on three sets of updates."""
    random = np.random.default_rng(0)
    for count in (5, 4, 7):
        updates = random.normal(size=(count, 3)) * 3
        for name, (rule, clear, because) in RULES.items():
            given = f"rule: {name}; {count} updates of 3 weights"
            got = attempt(rule, updates.copy())
            if not isinstance(got, bool | np.bool_):
                raise Wrong(given=given, got=got, expected="True or False", because="return True or False")
            if bool(got) == clear:
                continue
            if not clear:
                because = (
                    "this rule uses nothing but the sum: the sets that you compare must have the *same* sum, and numbers "
                    "are equal up to rounding (np.allclose)"
                )
            elif name.startswith("the median") and _reorders_only(attempt):
                because = "reordering the updates changes no median: move them against each other, so that the sum stays"
            raise Wrong(given=given, got=str(bool(got)), expected=str(clear), because=because)


def _reorders_only(attempt: Callable) -> bool:
    """Return whether all that the attempt shows a rule are reorderings of the updates."""
    updates, seen = np.arange(12.0).reshape(4, 3), []

    def spy(shown: np.ndarray) -> np.ndarray:
        seen.append(np.array(shown))
        return np.zeros(3)

    attempt(spy, updates.copy())
    return bool(seen) and all(np.array_equal(np.sort(one, axis=0), updates) for one in seen)


def reference_severity(
    attack: tuple[float, float], controlled: tuple[float, float] | None, levels: Mapping[str, float]
) -> tuple[str, str]:
    """Return (severity, status) by the rule of `labkit.federated.threats.judge`."""

    def level(value: float) -> str:
        return next(
            (name for name, start in sorted(levels.items(), key=lambda p: -p[1]) if value >= start), "none"
        )

    left = attack if controlled is None else controlled
    if left[1] < min(levels.values()):
        return level(attack[0]), "answered"
    return level(left[1]), "open"


@exercise(
    "12.severity",
    title="how severe, and is it answered?",
    reference=reference_severity,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_severity(attempt: Callable) -> None:
    """Against `judge`, on cases that tell the usual mistakes apart."""
    from labkit.federated.threats import Scale, judge
    from labkit.stats import Interval

    scale = Scale("share found", **LEVELS)
    cases = [
        (
            (0.7, 0.9),
            (0.005, 0.015),
            "the whole interval with the control lies below the lowest level: answered",
        ),
        (
            (0.7, 0.9),
            (0.005, 0.03),
            "the upper end with the control reaches 'low', so nothing is excluded: open",
        ),
        ((0.7, 0.9), None, "whatever one believes about the control, no experiment with it was made: open"),
        ((0.0, 0.6), None, "a wide interval is no pass: an open threat is as severe as its upper end allows"),
        ((0.0, 0.015), None, "the attack itself is harmless with certainty: nothing to answer"),
        ((0.06, 0.3), (0.0, 0.01), ANSWERED),
        ((0.7, 0.9), (0.06, 0.4), OPEN),
        ((0.1, 0.2), (0.0, 0.01), "a level begins at its number: 0.1 is high"),
        ((0.3, 0.4), (0.0, 0.02), "an upper end of exactly 'low' reaches it: open"),
        ((0.0, math.inf), None, "one run gives an infinite interval: nothing is excluded"),
    ]
    for attack, controlled, because in cases:
        given = {"attack": attack, "controlled": controlled, "levels": LEVELS}
        middle = [
            None if pair is None else Interval((pair[0] + min(pair[1], 1)) / 2, *pair)
            for pair in (attack, controlled)
        ]
        expected = judge(scale, *middle)
        got: Any = attempt(attack, controlled, dict(LEVELS))
        if not isinstance(got, tuple | list) or len(got) != 2:
            because = "return two words: severity and status"
            raise Wrong(given=given, got=got, expected=expected, because=because)
        if tuple(got) != expected:
            if got[1] == expected[1] and because.endswith((": answered", ": open")):  # not the status, then
                because = ANSWERED if expected[1] == "answered" else OPEN
            raise Wrong(given=given, got=tuple(got), expected=expected, because=because)
    other = {"low": 0.5, "medium": 0.6, "high": 0.7, "critical": 0.9}
    if tuple(attempt((0.65, 0.68), None, other)) != ("medium", "open"):
        because = "the levels are an argument: here they begin at 0.5"
        raise Wrong(
            given={"attack": (0.65, 0.68), "levels": other}, expected=("medium", "open"), because=because
        )
