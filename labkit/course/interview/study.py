"""Spaced repetition: what was answered when and how well, what is due, and where the weak spots are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from labkit.cache import atomic_path
from labkit.course.exercises import progress
from labkit.course.interview.bank import SIGNALS, Question

BEST = 2  # per signal: 0 missing, 1 partly, 2 as the rubric says
PROMOTED = 6  # points of 8 that move a question on, if no signal is missing
KEPT = 4  # points below which it starts again
DAYS = (1, 2, 5, 12, 30)  # until a question of box 1 to 5 comes again (Leitner, So lernt man lernen, 1972)


@dataclass(frozen=True)
class Attempt:
    """One self-scored answer.

    Attributes
    ----------
    day : date
    scores : tuple of int
        One for each of `SIGNALS`, 0 to 2.
    seconds : float
        Until the answer was revealed.
    """

    day: date
    scores: tuple[int, ...]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if len(self.scores) != len(SIGNALS) or not all(
            isinstance(score, int) and 0 <= score <= BEST for score in self.scores
        ):
            raise ValueError(
                f"scores are {self.scores}; expected {len(SIGNALS)} of 0, 1 or 2: {', '.join(SIGNALS)}"
            )

    @property
    def points(self) -> int:
        return sum(self.scores)


@dataclass
class Card:
    """A question's box and its attempts."""

    box: int = 0
    attempts: list[Attempt] = field(default_factory=list)

    def due(self, day: date) -> bool:
        """Whether it comes again by this day; a new question is always due."""
        return not self.attempts or day >= self.next_day

    @property
    def next_day(self) -> date:
        return self.attempts[-1].day + timedelta(days=DAYS[self.box - 1])


def next_box(box: int, scores: Sequence[int]) -> int:
    """Return the box after an answer: one on if it was good in all signals, the first if it was poor, else the same.

    Examples
    --------
    >>> next_box(2, (2, 2, 1, 1)), next_box(2, (2, 2, 2, 0)), next_box(4, (1, 1, 1, 0))
    (3, 2, 1)
    """
    box = max(1, box)
    if sum(scores) >= PROMOTED and min(scores) > 0:
        return min(len(DAYS), box + 1)
    return box if sum(scores) >= KEPT else 1


class Study:
    """A learner's cards, kept in a small JSON file beside their progress; safe to delete, never sent anywhere.

    Parameters
    ----------
    path : Path, optional
        Where to keep it; beside the progress file when left out.
    """

    def __init__(self, path: Path | None = None) -> None:
        beside = progress.path()
        self.path = beside.with_name(f"{beside.stem}-interview.json") if path is None else path
        self.remark = ""
        self.cards: dict[str, Card] = {}
        self._unsaved: list[tuple[str, Attempt]] = []
        self._damaged = False
        self._read()

    def record(self, id: str, scores: Sequence[int], *, day: date, seconds: float = 0.0) -> Card:
        """Keep an answer and return its card; trouble with the file becomes the remark, and is never raised."""
        self._unsaved.append((id, Attempt(day, tuple(scores), round(float(seconds), 1))))
        self.remark = ""
        self._read()
        self._write()
        return self.cards[id]

    def _read(self) -> None:
        """Take in what the file says now, as the drill may be open in two windows, and then what it does not know yet."""
        self.cards, self._damaged = {}, False
        try:
            self.cards = _read(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._damaged = True
            self.remark = (
                f"{self.path} could not be read ({type(error).__name__}): the drill starts anew, and that file is kept "
                f"as {progress.aside(self.path).name}"
            )
        for id, attempt in self._unsaved:
            card = self.cards.setdefault(id, Card())
            card.box = next_box(card.box, attempt.scores)
            card.attempts.append(attempt)

    def _write(self) -> None:
        content = {
            id: {"box": card.box, "attempts": [_plain(one) for one in card.attempts]}
            for id, card in self.cards.items()
        }
        try:
            if self._damaged:
                self.path.replace(progress.aside(self.path))
            with atomic_path(self.path) as part:
                part.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
            self._unsaved.clear()
        except OSError as error:
            self.remark = (
                f"the drill was not saved in {self.path} ({type(error).__name__}): set LABKIT_PROGRESS_FILE to a file that "
                "can be written"
            )

    def queue(self, among: Sequence[Question], day: date) -> list[Question]:
        """Return what is due: repetitions first, lowest box and longest waiting before others, then new questions."""
        due = [one for one in among if self.cards.get(one.id, Card()).due(day)]
        again = [one for one in due if one.id in self.cards]
        again.sort(key=lambda one: (self.cards[one.id].box, self.cards[one.id].next_day))
        return again + sorted((one for one in due if one.id not in self.cards), key=lambda one: one.level)

    def weak_spots(self, among: Sequence[Question]) -> list[dict[str, Any]]:
        """Return one row an area, weakest first: questions answered, share of points by signal, latest answers only."""
        rows = []
        for area in dict.fromkeys(one.area for one in among):
            asked = [one.id for one in among if one.area == area]
            last = [self.cards[id].attempts[-1].scores for id in asked if id in self.cards]
            row: dict[str, Any] = {"area": area, "answered": len(last), "questions": len(asked)}
            for place, signal in enumerate(SIGNALS):
                row[signal] = sum(scores[place] for scores in last) / (BEST * len(last)) if last else None
            row["all"] = sum(map(sum, last)) / (BEST * len(SIGNALS) * len(last)) if last else None
            rows.append(row)
        return sorted(rows, key=lambda row: (row["all"] is None, row["all"] or 0))


def _plain(attempt: Attempt) -> dict[str, Any]:
    return {"day": attempt.day.isoformat(), "scores": list(attempt.scores), "seconds": attempt.seconds}


def _read(content: dict[str, Any]) -> dict[str, Card]:
    found = {}
    for id, card in content.items():
        attempts = [
            Attempt(date.fromisoformat(one["day"]), tuple(one["scores"]), one["seconds"])
            for one in card["attempts"]
        ]
        if not attempts or card["box"] not in range(1, len(DAYS) + 1):
            raise ValueError(f"{id} has no attempt, or box {card['box']}")
        found[id] = Card(card["box"], attempts)
    return found


def standing(rows: Sequence[dict[str, Any]]) -> str:
    """Return `Study.weak_spots` as text; an area without answers says so, and counts as nothing."""
    heads = ("area", "answered", *SIGNALS, "all")
    lines = [f"{heads[0]:<26}{heads[1]:>10}" + "".join(f"{head:>15}" for head in heads[2:])]
    for row in rows:
        shares = ["-" if row[head] is None else f"{row[head]:.0%}" for head in heads[2:]]
        answered = f"{row['answered']} of {row['questions']}"
        lines.append(f"{row['area']:<26}{answered:>10}" + "".join(f"{share:>15}" for share in shares))
    return "\n".join(lines)
