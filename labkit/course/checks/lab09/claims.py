"""Checks of lab 09, first part: do the triggers follow from the key, and who committed first?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import torch

from labkit.course.exercises.exercise import Wrong, exercise
from labkit.watermark.marks.keys import Key
from labkit.watermark.marks.marked import TriggerSet

Draw = Callable[[Key, int], TriggerSet]
Commitments = Sequence[tuple[str, str, bool]]


def reference_follows(brought: TriggerSet, key: Key, draw: Draw) -> bool:
    """Return whether the triggers are those that the key gives: same answers, pixels within 1e-5."""
    drawn = draw(key, len(brought))
    if drawn.x.shape != brought.x.shape or not torch.equal(drawn.y, brought.y):
        return False
    return bool((drawn.x - brought.x).abs().max() <= 1e-5)


def _draw(key: Key, count: int) -> TriggerSet:
    """Return pictures of 4 x 4 pixels; the first m of n are those that one gets by asking for m."""
    x = np.stack([key.uniform(f"picture {k}", (3, 4, 4)) for k in range(count)])
    y = np.array([key.integers(f"answer {k}", 10, 1)[0] for k in range(count)])
    return TriggerSet(torch.from_numpy(x).float(), torch.from_numpy(y), "pictures")


KEY = Key.from_phrase("check of lab 09")


def _brought() -> list[tuple[str, TriggerSet, bool, str]]:
    """Return what claimants bring: (in words, triggers, whether they follow, the likely cause of a mistake)."""
    own = _draw(KEY, 12)
    pixel, answer = own.x.clone(), own.y.clone()
    pixel[7, 1, 2, 3] = (pixel[7, 1, 2, 3] + 0.5) % 1
    answer[11] = (answer[11] + 1) % 10
    rounded = own.x + 1e-7 * torch.randn(own.x.shape, generator=torch.Generator().manual_seed(0))
    many = _draw(KEY, 40)
    best = torch.arange(5, 40, 3)  # say, those that the suspect answers
    other = _draw(Key.from_phrase("another key"), 12)
    return [
        (
            "the key's own 12 triggers",
            own,
            True,
            "an honest claim is the one that the key gives again: pictures and answers, as many as were brought\ndraw(key, len(brought)) gives the same",
        ),
        (
            "12 of the key's triggers, rounded on another machine",
            TriggerSet(rounded, own.y, "pictures"),
            True,
            "an honest claim is turned away: machines round differently, so allow 1e-5",
        ),
        (
            "12 triggers of another key",
            other,
            False,
            "these come from another key: compare with what the key gives",
        ),
        (
            "12 of the key's triggers, one pixel of one picture changed by 0.5",
            TriggerSet(pixel, own.y, "pictures"),
            False,
            "one changed pixel was let through: the largest difference counts, not the mean, and of all pictures",
        ),
        (
            "the key's pictures, one answer changed",
            TriggerSet(own.x, answer, "pictures"),
            False,
            "a changed answer was let through: whoever may choose the answers writes down what the suspect says",
        ),
        (
            f"{len(best)} triggers chosen among the key's first 40",
            TriggerSet(many.x[best], many.y[best], "pictures"),
            False,
            "triggers that were picked out were let through: who draws many and keeps those that fit proves nothing; "
            "only the first n count, in their order",
        ),
    ]


@exercise(
    "09.follows",
    title="do the triggers follow from the key?",
    reference=reference_follows,
    points=2,
    difficulty=2,
    importance=5,
    minutes=10,
)
def check_follows(attempt: Callable) -> None:
    """Honest claims, one with rounding, and four ways to cheat; the last brings another number of triggers."""
    for words, brought, expected, because in _brought():
        got = attempt(brought, KEY, _draw)
        if not isinstance(got, bool | np.bool_ | torch.Tensor) or np.size(got) != 1:
            raise Wrong(
                given=words, got=got, expected=expected, because="return True or False, for all together"
            )
        if bool(got) != expected:
            raise Wrong(given=words, got=bool(got), expected=expected, because=because)


def reference_first_to_commit(commitments: Commitments, released: str) -> str | None:
    """Return the claimant with the oldest commitment that opens and lies before the release; None without one."""
    limit = datetime.fromisoformat(released)
    counts = [(datetime.fromisoformat(moment), name) for name, moment, opens in commitments if opens]
    counts = sorted(pair for pair in counts if pair[0] < limit)
    if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
        return None
    return counts[0][1]


NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)
RELEASED = datetime(2025, 9, 1, 12, tzinfo=UTC).isoformat()


def _told(hours: float, zone: int = 0) -> str:
    """Return the moment so many hours after noon of the first of May, as a clock of that time zone shows it."""
    return (NOON + timedelta(hours=hours)).astimezone(timezone(timedelta(hours=zone))).isoformat()


CASES: list[tuple[list[tuple[str, str, bool]], str | None, str]] = [
    (
        [("Bea", _told(5), True), ("Ada", _told(0), True), ("Cy", _told(9), True)],
        "Ada",
        "the oldest commitment wins, wherever it stands in the list",
    ),
    (
        # On the clock of Tokyo it is nine hours later: the text is greater, the moment earlier.
        [("Ada", _told(0, 9), True), ("Bea", _told(4), True)],
        "Ada",
        "the moments were compared as text or without their time zones\ndatetime.fromisoformat(moment) reads both",
    ),
    (
        [("Ada", _told(0), False), ("Bea", _told(5), True)],
        "Bea",
        "a commitment that does not open counts for nothing: anybody can publish 64 digits early",
    ),
    (
        [("Ada", _told(0), False)],
        None,
        "no commitment opens: nobody wins",
    ),
    (
        [("Ada", RELEASED, True)],
        None,
        "a commitment at or after the release proves nothing: the suspect was there to be copied",
    ),
    (
        [("Ada", _told(2, -5), True), ("Bea", _told(2, 3), True)],
        None,
        "both committed at the same instant: the dates do not decide",
    ),
    (
        [("Ada", _told(2), False), ("Bea", _told(2), True)],
        "Bea",
        "of two at the same instant one does not open: the other wins",
    ),
]


@exercise(
    "09.first_to_commit",
    title="who was first?",
    reference=reference_first_to_commit,
    points=2,
    difficulty=2,
    importance=4,
    minutes=8,
)
def check_first_to_commit(attempt: Callable) -> None:
    """Seven lists with a known answer, across time zones."""
    for commitments, expected, because in CASES:
        given = {"commitments": commitments, "released": RELEASED}
        got = attempt(list(commitments), RELEASED)
        if got is not None and not isinstance(got, str):
            raise Wrong(
                given=given, got=got, expected=repr(expected), because="return the claimant's name, or None"
            )
        if got != expected:
            raise Wrong(given=given, got=repr(got), expected=repr(expected), because=because)
