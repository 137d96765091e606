"""Checks of lab 13, second part: how many people an attack names, and record numbers in free text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from labkit.course.exercises.exercise import Wrong, exercise
from labkit.governance.finders import RECORD_NUMBER
from labkit.governance.notes import is_record_number


def reference_named_patients(scores: np.ndarray, members: np.ndarray, allowed: int) -> int:
    """Return how many members lie above the threshold that lets ``allowed`` non-members pass."""
    others = np.sort(scores[~members])[::-1]
    if allowed >= len(others):
        return int(members.sum())
    return int((scores[members] > others[allowed]).sum())


def _by_trying(scores: np.ndarray, members: np.ndarray, allowed: int) -> int:
    """Return the same by trying every threshold."""
    found = 0
    for threshold in np.unique(scores):
        accused = scores >= threshold
        if (accused & ~members).sum() <= allowed:
            found = max(found, int((accused & members).sum()))
    return found


@exercise(
    "13.named_patients",
    title="how many patients can be named?",
    reference=reference_named_patients,
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
)
def check_named_patients(attempt: Callable) -> None:
    """Against every threshold there is, with and without ties."""
    random = np.random.default_rng(0)
    for n, allowed, ties in (
        (800, 12, False),
        (300, 0, False),
        (600, 8, True),
        (40, 500, False),
        (500, 5, False),
    ):
        members = random.random(n) < 0.5
        scores = random.normal(size=n) + 0.8 * members
        scores = np.round(scores * 2) / 2 if ties else scores
        given = {
            "records": n,
            "members": int(members.sum()),
            "allowed": allowed,
            "scores": "tied" if ties else "distinct",
        }
        got = attempt(scores.copy(), members.copy(), allowed)
        if isinstance(got, bool) or not isinstance(got, int | np.integer):
            because = (
                "return a number of people, a whole number; a share would be divided by the number of members"
            )
            raise Wrong(given=given, got=got, expected="a whole number", because=because)
        expected = _by_trying(scores, members, allowed)
        if int(got) == expected:
            continue
        because = _why(int(got), scores, members, allowed)
        raise Wrong(given=given, got=int(got), expected=expected, because=because)


def _why(got: int, scores: np.ndarray, members: np.ndarray, allowed: int) -> str:
    others = np.sort(scores[~members])[::-1]
    last = others[min(allowed, len(others) - 1)]
    before = others[max(0, min(allowed, len(others)) - 1)]
    ranked = members[np.argsort(-scores, kind="stable")]
    tied = len(np.unique(scores)) < len(scores)
    causes = [
        (
            _by_trying(-scores, members, allowed),
            "the threshold is at the wrong end: a high score says that the record was in",
        ),
        (
            int((scores[members] >= last).sum()) if tied else -1,
            "scores tie: whoever names a member at this score names the non-members there as well",
        ),
        (
            int((scores[members] > before).sum()),
            "one non-member too few is accused: that many are allowed, so the next one sets the threshold",
        ),
        (
            int((scores[members] >= before).sum()) if tied else -1,
            "scores tie: whoever names a member at this score names the non-members there as well",
        ),
        (
            int((scores[members] > np.median(scores)).sum()),
            "that is a threshold in the middle, as accuracy has it: half of all non-members would be accused",
        ),
        (
            int(ranked[: max(1, allowed)].sum()),
            "that counts among the first few only: `allowed` is the number of *mistakes*",
        ),
        (int(members.sum()), "every member is counted: who is accused wrongly on the way?"),
    ]
    otherwise = "for each threshold count two things: members at or above it, and non-members at or above it"
    likely = {text for wrong, text in causes if wrong == got}
    return likely.pop() if len(likely) == 1 else otherwise  # two causes with one result: nobody knows which


def reference_record_numbers(text: str) -> list[tuple[int, int]]:
    """Return where record numbers stand."""
    return [
        match.span()
        for match in re.finditer(RECORD_NUMBER, text)
        if is_record_number(re.sub(r"\D", "", match[0]))
    ]


# text, the numbers in it as they are written, and what a mistake here means
TEXTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("MRN 47112032, seen today.", ("47112032",), "eight digits in a row are the plainest form"),
    ("Hospital number 4711-2032.", ("4711-2032",), "a hyphen may stand after the fourth digit"),
    ("Old number 1234 5674.", ("1234 5674",), "a blank may stand after the fourth digit"),
    (
        "Infusion pump serial 47112033, checked.",
        (),
        "eight digits with a wrong check digit are another number: a pump's, for example",
    ),
    (
        "Sample 471120325 and account 347112032.",
        (),
        "these eight digits are part of a longer number: look at the neighbours on both sides",
    ),
    (
        "BP 140/90, Na 138, call 471-12-032.",
        (),
        "no eight digits stand here with one mark at most, after the fourth",
    ),
    ("(47112032)", ("47112032",), "brackets and full stops may touch a number: only digits belong to it"),
    (
        "4711-2032 is the same person as 47112032.",
        ("4711-2032", "47112032"),
        "every place counts, not the first alone",
    ),
)


@exercise(
    "13.record_numbers",
    title="find the hospital's record numbers",
    reference=reference_record_numbers,
    points=3,
    difficulty=3,
    importance=4,
    minutes=15,
)
def check_record_numbers(attempt: Callable) -> None:
    """Against numbers that were put into texts by hand, and against look-alikes."""
    for text, numbers, because in TEXTS:
        expected, at = [], 0
        for number in numbers:
            start = text.index(number, at)
            at = start + len(number)
            expected.append((start, at))
        got = _spans(attempt(text), text)
        if got == expected:
            continue
        found = [text[start:end] for start, end in got]
        if sorted(got) == expected:
            because = "in the order of the text, please"
        elif [(start, end + 1) for start, end in got] == expected != []:
            because = "the last digit is missing: an end is the place after it, as in a slice"
        elif any(written != written.strip(" -().,") for written in found):
            because = "the span holds more than the number: a blank or a mark at its ends"
        raise Wrong(given=text, got=found, expected=list(numbers) or "nothing", because=because)


def _spans(got: Any, text: str) -> list[tuple[int, int]]:
    """Return the attempt's spans as tuples; raise `Wrong` for anything else."""
    expected = "a list of (start, end)"
    if not isinstance(got, list | tuple):
        raise Wrong(
            given=text, got=got, expected=expected, because="return a list, empty where nothing stands"
        )
    if any(isinstance(one, str) for one in got):
        because = "the texts themselves came; to blacken them one must know *where* they stand"
        raise Wrong(given=text, got=got, expected=expected, because=because)
    try:
        return [(int(start), int(end)) for start, end in got]
    except (TypeError, ValueError):
        because = "each entry is a pair of places, start and end (excluded)"
        raise Wrong(given=text, got=got, expected=expected, because=because) from None
