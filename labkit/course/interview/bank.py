"""The bank of interview questions: one YAML file an area, read into questions that know how they look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.course.interview import numbers
from labkit.course.labs import lab

FOLDER = Path(__file__).parent / "questions"
SIGNALS = ("framing", "depth", "evidence", "communication")
LEVELS = {1: "explain", 2: "apply", 3: "defend", 4: "design"}
MINUTES = {1: 2, 2: 3, 3: 5, 4: 15}  # that an answer may take, by level


class BankError(ValueError):
    """A question of the bank lacks a part, or is not what it should be; the message says which."""


@dataclass(frozen=True)
class FollowUp:
    """What an interviewer asks next, and an answer."""

    ask: str
    answer: str


@dataclass(frozen=True)
class Question:
    """One question; its texts may hold numbers in braces, which `filled` computes.

    Attributes
    ----------
    id : str
        Stable: progress and flash cards refer to it.
    level : int
        1 explain, 2 apply, 3 defend, 4 design.
    lab, section : str
        Where a computed figure supports the answer: number of the lab, and the heading there.
    misses : str
        What weak answers miss.
    rubric : dict
        Signal of `SIGNALS` to what an answer shows that earns full marks.
    """

    id: str
    area: str
    level: int
    lab: str
    section: str
    question: str
    answer: str
    followups: tuple[FollowUp, ...]
    misses: str
    rubric: dict[str, str]

    @property
    def minutes(self) -> int:
        """Time for the answer, follow-ups not counted."""
        return MINUTES[self.level]

    @property
    def link(self) -> str:
        """Address of the section, seen from a notebook beside it."""
        return f"{lab(self.lab).name}.ipynb#{self.section.replace(' ', '-')}"

    @property
    def where(self) -> str:
        """The section in words."""
        return f"lab {self.lab}, {self.section}"

    def texts(self) -> dict[str, str]:
        """Return every text of the question by the name of its place."""
        found = {"question": self.question, "answer": self.answer, "misses": self.misses}
        for number, more in enumerate(self.followups, 1):
            found |= {f"follow-up {number}": more.ask, f"answer {number}": more.answer}
        return found | {f"rubric, {signal}": text for signal, text in self.rubric.items()}

    def filled(self) -> dict[str, str]:
        """Return `texts` with all numbers computed."""
        return {place: numbers.filled(text) for place, text in self.texts().items()}

    def computed(self) -> list[str]:
        """Return one line for each computed number of the question: its value, and what it is a number of."""
        names = dict.fromkeys(name for text in self.texts().values() for name in numbers.used(text))
        found = [numbers.find(name) for name in names]
        return [f"{one}: {one.says}" for one in found if not one.given]


@lru_cache(maxsize=1)
def questions() -> tuple[Question, ...]:
    """Return the whole bank, area by area, easy before hard.

    Raises
    ------
    BankError
        If a question lacks a part, or two have one id.
    """
    import yaml

    found: list[Question] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += sorted((_read(rows["area"], row) for row in rows["questions"]), key=lambda one: one.level)
    ids = [one.id for one in found]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise BankError(f"two questions are called {', '.join(twice)}")
    return tuple(found)


def _read(area: str, row: dict[str, Any]) -> Question:
    wanted = {"id", "level", "lab", "section", "question", "answer", "followups", "misses", "rubric"}
    if set(row) != wanted or set(row["rubric"]) != set(SIGNALS) or row["level"] not in LEVELS:
        raise BankError(
            f"question {row.get('id')!r} of {area}: expected {', '.join(sorted(wanted))}, a level of 1 to 4, and a rubric "
            f"of {', '.join(SIGNALS)}"
        )
    more = tuple(FollowUp(**one) for one in row["followups"])
    if len(more) != 2:
        raise BankError(f"question {row['id']!r} has {len(more)} follow-ups; expected 2")
    return Question(area=area, **{**row, "followups": more})


def areas() -> tuple[str, ...]:
    """Return the areas of the bank."""
    return tuple(dict.fromkeys(one.area for one in questions()))


def find(id: str) -> Question:
    """Return the question of this id.

    Raises
    ------
    LookupError
        If there is none; the message says how to list them.
    """
    for one in questions():
        if one.id == id:
            return one
    raise UnknownQuestionError(f"no question {id!r}; labkit drill --list shows them all")


class UnknownQuestionError(LookupError):
    """There is no question of that id."""


def choose(
    area: str | None = None, level: int | None = None, among: Iterable[Question] | None = None
) -> tuple[Question, ...]:
    """Return the questions of an area (its beginning is enough) and a level.

    Raises
    ------
    LookupError
        If nothing fits; the message lists the areas.
    """
    found = tuple(
        one
        for one in (questions() if among is None else among)
        if (area is None or one.area.startswith(area.lower())) and level in (None, one.level)
    )
    if not found:
        raise UnknownQuestionError(
            f"no question of area {area!r} and level {level}; areas: {', '.join(areas())}; levels: 1 to 4"
        )
    return found
