"""Exercises: what is asked, how hard it is, and the check that decides. One file of checks a lab."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.course.showing import brief

CHECKS = "labkit.course.checks"
_registry: dict[str, Exercise] = {}


class Wrong(Exception):  # noqa: N818 (it reads as what it says: raise Wrong)
    """What a check raises about an attempt: which input, what came, what was expected, and the likely cause.

    Parameters
    ----------
    given : object
        The input that shows the mistake; a dict of named arguments reads best.
    got, expected : object
        What the attempt returned, and what it should have; text is shown as it is.
    because : str
        The likely cause, in words: what is wrong, not how it is written. What stands on a second line is the remedy,
        with its formula or call; a learner sees it from the second wrong try on.

    Examples
    --------
    >>> wrong = Wrong(because="the middle is too low: a sum was taken\\ndivide by len(values)")
    >>> wrong.because, wrong.remedy
    ('the middle is too low: a sum was taken', 'divide by len(values)')
    """

    def __init__(self, given: Any = None, got: Any = None, expected: Any = None, because: str = "") -> None:
        if not because:
            raise TypeError("Wrong needs because=...: the likely cause is what helps the learner")
        super().__init__(because)
        self.given, self.got, self.expected = given, got, expected
        self.because, _, self.remedy = because.partition("\n")


@dataclass(frozen=True)
class Exercise:
    """One task of a lab.

    Attributes
    ----------
    id : str
        ``NN.name``, for example ``02.clip_per_sample``.
    points : int
        What it counts in grading.
    difficulty, importance : int
        1 to 5.
    minutes : int
        What a learner may expect to spend.
    reference : object
        A right answer, or ``"module:attribute"`` naming one; loaded when asked for.
    changes_input : bool
        Whether a right answer may change its arguments in place.
    run : callable
        Takes the attempt; returns when it is right and raises `Wrong` when it is not.
    seconds : float
        How long an attempt may take; a right one takes a few at most.
    """

    id: str
    title: str
    points: int
    difficulty: int
    importance: int
    minutes: int
    reference: Any = field(repr=False)
    changes_input: bool
    run: Callable[[Any], None] = field(repr=False)
    seconds: float = 60

    @property
    def answer(self) -> Any:
        """The reference answer, imported when it was named by text."""
        if isinstance(self.reference, str) and re.fullmatch(r"[\w.]+:\w+", self.reference):
            module, _, name = self.reference.partition(":")
            return getattr(importlib.import_module(module), name)
        return self.reference

    @property
    def facts(self) -> str:
        """Difficulty, importance, minutes and points in one line of text."""
        dots = {n: "●" * n + "○" * (5 - n) for n in range(1, 6)}
        return (
            f"Difficulty {dots[self.difficulty]} ({self.difficulty} of 5) · "
            f"importance {dots[self.importance]} ({self.importance} of 5) · "
            f"about {self.minutes} minutes · {self.points} point{'s' if self.points != 1 else ''}"
        )


def exercise(
    id: str,
    *,
    title: str,
    reference: Any,
    points: int = 1,
    difficulty: int = 2,
    importance: int = 3,
    minutes: int = 5,
    changes_input: bool = False,
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register the decorated function as the check of exercise ``id``; the settings are those of `Exercise`.

    Raises
    ------
    ValueError
        If the id is not ``NN.name`` or is taken, or a rating lies outside 1 to 5.
    """
    if not re.fullmatch(r"\d\d\.[a-z][a-z0-9_]*", id):
        raise ValueError(f"exercise id {id!r}; expected two digits, a dot and a name, such as '02.clip'")
    for name, value in (("difficulty", difficulty), ("importance", importance)):
        if value not in range(1, 6):
            raise ValueError(f"{name} of {id} is {value}; expected 1 to 5")

    def register(run: Callable[[Any], None]) -> Callable[[Any], None]:
        taken = _registry.get(id)
        # The same function may register again: a module that is reloaded is not a clash.
        if taken and (taken.run.__module__, taken.run.__qualname__) != (run.__module__, run.__qualname__):
            raise ValueError(
                f"exercise {id} is defined twice: by {taken.run.__qualname__} and {run.__qualname__}"
            )
        _registry[id] = Exercise(
            id, title, points, difficulty, importance, minutes, reference, changes_input, run
        )
        return run

    return register


def of_lab(number: str) -> list[Exercise]:
    """Return the exercises of lab ``number`` (two digits) in the order of its file; none if it has no checks."""
    module = f"{CHECKS}.lab{number}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    return [item for item in _registry.values() if item.id.startswith(f"{number}.")]


def find(id: str) -> Exercise:
    """Return the exercise of this id, importing its lab's checks on first use.

    Raises
    ------
    LookupError
        If there is none; the message lists the exercises of that lab.
    """
    if id not in _registry:
        known = [item.id for item in of_lab(id[:2])]
        if id not in _registry:
            raise LookupError(f"no exercise {id!r}; lab {id[:2]} has: {', '.join(known) or 'none'}")
    return _registry[id]


def expect_close(
    got: Any, expected: Any, *, given: Any, because: str, rtol: float = 1e-5, atol: float = 1e-8
) -> None:
    """Raise `Wrong` unless ``got`` is a number, array or tensor of the shape and values of ``expected``.

    Parameters
    ----------
    got, expected : number, array-like or tensor
        Compared as float64, elementwise; NaN equals nothing.
    because : str
        The likely cause when the values differ; a wrong type or shape names itself.
    """
    import numpy as np

    want = _as_array(expected)
    if got is None:
        raise Wrong(
            given=given, got="None", expected=expected, because="nothing came back: is there a return?"
        )
    try:
        have = _as_array(got)
    except (TypeError, ValueError, RuntimeError):
        message = f"a {type(got).__name__} came back; a {type(expected).__name__} was expected"
        raise Wrong(given=given, got=got, expected=expected, because=message) from None
    if have.shape != want.shape:
        message = f"the shape is {have.shape}; it should be {want.shape}"
        raise Wrong(given=given, got=brief(got), expected=brief(expected), because=message)
    if not np.allclose(have, want, rtol=rtol, atol=atol):
        raise Wrong(given=given, got=got, expected=expected, because=because)


def _as_array(value: Any) -> Any:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value, dtype=np.float64)
