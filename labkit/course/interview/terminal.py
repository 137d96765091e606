"""The drill in a terminal, by keyboard: question, think aloud, Enter, answer, four digits; and what to do without one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date

from labkit.course.interview import sheets
from labkit.course.interview.bank import SIGNALS, Question
from labkit.course.interview.study import BEST, Study, standing

HOW = "Answer aloud. Enter: show the answer; s: skip; q: stop"
SCORE = f"Score {', '.join(SIGNALS)}, each 0 to {BEST}, such as 2 1 2 1 (s: skip; q: stop)"


class Stopped(Exception):  # noqa: N818 - no error: the learner has had enough
    """The learner stopped, or input ended."""


def clock_text(seconds: float) -> str:
    """Return minutes and seconds.

    Examples
    --------
    >>> clock_text(100.4)
    '1:40'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def scores_of(text: str) -> tuple[int, ...] | None:
    """Return four scores from what was typed, or None if it is no score.

    Examples
    --------
    >>> scores_of("2 1 2 1"), scores_of("2121"), scores_of("3 0 0 0")
    ((2, 1, 2, 1), (2, 1, 2, 1), None)
    """
    digits = [letter for letter in text if not letter.isspace() and letter != ","]
    if len(digits) != len(SIGNALS) or not all(one in "012" for one in digits):
        return None
    return tuple(map(int, digits))


def ask(
    one: Question,
    *,
    read: Callable[[str], str] = input,
    write: Callable[[str], None] = print,
    now: Callable[[], float] = time.monotonic,
) -> tuple[tuple[int, ...], float] | None:
    """Ask one question and return its scores and the seconds until the answer was shown; None if it was skipped.

    Raises
    ------
    Stopped
        If the learner stops, or input ends.
    """
    write(f"\n{sheets.asked(one)}\n")
    begun = now()
    if _read(read, f"{HOW}: ") == "s":
        return None
    seconds = now() - begun
    write(f"\n{sheets.revealed(one)}\n")
    write(f"You took {clock_text(seconds)} of {one.minutes}:00.")
    while True:
        typed = _read(read, f"{SCORE}: ")
        if typed == "s":
            return None
        if (scores := scores_of(typed)) is not None:
            return scores, seconds
        write(f"{typed!r} is no score: four digits from 0 to {BEST}.")


def _read(read: Callable[[str], str], prompt: str) -> str:
    try:
        typed = read(prompt).strip().lower()
    except (EOFError, KeyboardInterrupt):
        raise Stopped from None
    if typed == "q":
        raise Stopped
    return typed


def drill(
    some: Sequence[Question],
    study: Study,
    *,
    day: date,
    read: Callable[[str], str] = input,
    write: Callable[[str], None] = print,
    now: Callable[[], float] = time.monotonic,
) -> int:
    """Ask what is due, keep the scores, and return how many were scored."""
    queue, scored = study.queue(some, day), 0
    new = sum(one.id not in study.cards for one in queue)
    if study.remark:
        write(study.remark)
    write(f"{len(queue)} of {len(some)} questions are due: {len(queue) - new} again, {new} new.")
    try:
        for one in queue:
            found = ask(one, read=read, write=write, now=now)
            if found:
                card = study.record(one.id, found[0], day=day, seconds=found[1])
                scored += 1
                kept = study.remark or f"it comes again on {card.next_day}."
                write(f"{sum(found[0])} of {BEST * len(SIGNALS)} points; {kept}")
    except Stopped:
        write("")
    write(f"{scored} scored. Latest answers by area, share of points:\n{standing(study.weak_spots(some))}")
    return scored


def agenda(some: Sequence[Question], study: Study, day: date) -> str:
    """Return what is due as text, for when nobody can type."""
    queue = study.queue(some, day)
    remark = f"{study.remark}\n" if study.remark else ""
    return (
        f"{remark}{len(queue)} of {len(some)} questions are due. The drill asks by keyboard: call labkit drill in a terminal. "
        f"Without one: --list, --export csv, --export anki, --mock 45, --cheat-sheet FILE.\n\n"
        f"{sheets.listing(queue[:10])}\n\n{standing(study.weak_spots(some))}"
    )
