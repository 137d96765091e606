"""``check``: try what the learner wrote, say what came of it, and let the notebook run on whatever that was."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.course import showing
from labkit.course.exercises import progress
from labkit.course.exercises.exercise import Exercise, Wrong, find
from labkit.course.exercises.guarding import TooSlow, fixed_randomness, names_bound, no_exit, time_limit
from labkit.course.exercises.watching import Watched
from labkit.course.showing import brief

NOT_ATTEMPTED, WRONG, PASSED = "not attempted", "wrong", "passed"
_judged: dict[str, tuple[str, Any]] = {}  # exercise -> status and attempt of its last check in this process
_wrong: dict[str, list[Any]] = {}  # exercise -> its different wrong attempts in this process, in order
LADDER = (
    "Stuck? Hint 1 stands below: the idea.",
    "Still stuck? Hint 2 stands below: the step.",
    "Hint 3, where your copy has one, is nearly the code.",
)


class CheckFailed(AssertionError):  # noqa: N818 (the name says it)
    """Raised by `check` in strict mode for anything but a pass."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt. It has shown itself already.

    Attributes
    ----------
    status : str
        ``"not attempted"``, ``"wrong"`` or ``"passed"``.
    problem : Wrong or None
        What was wrong: ``given``, ``got``, ``expected``, ``because``.
    remark : str
        What else the learner should know.
    tries : int
        The how-many-th different wrong attempt this is: the first is told the cause, a later one the remedy, too.
    """

    exercise: Exercise
    status: str
    problem: Wrong | None = None
    remark: str = ""
    attempt: Any = field(default=None, repr=False)
    tries: int = 1

    def parts(self) -> tuple[str, str, list[tuple[str, str]], str]:
        """Return status, heading, named lines and closing remark, as `labkit.course.showing` takes them."""
        heading, name = f"{self.exercise.id}: {self.exercise.title}", self.exercise.id.partition(".")[2]
        closings = {
            PASSED: f"The cells below use your version (solved.{name}).",
            NOT_ATTEMPTED: "The cells below use labkit's version; hints stand by the exercise.",
            WRONG: f"{LADDER[min(self.tries, len(LADDER)) - 1]} The cells below use labkit's version until yours passes.",
        }
        lines = []
        if self.problem is not None:
            names = (("Input", "given"), ("Yours", "got"), ("Expected", "expected"))
            lines = [
                (name, brief(getattr(self.problem, key)))
                for name, key in names
                if getattr(self.problem, key) is not None
            ]
            lines.append(("Likely cause", self.problem.because))
            if self.problem.remedy and self.tries > 1:
                lines.append(("What to do", self.problem.remedy))
        return self.status, heading, lines, self.remark or closings[self.status]

    def __str__(self) -> str:
        return showing.plain(*self.parts())

    @property
    def html(self) -> str:
        """The outcome as one HTML box."""
        return showing.box(*self.parts())

    def _ipython_display_(self) -> None:
        """Show nothing: `check` has shown it, and the last line of a cell would show it twice."""


def _grading() -> bool:
    return os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate")


# Settled when the first cell imports the course, before any answer has run: no answer can switch its grading off.
_STRICT_FROM_THE_START, _GRADED_FROM_THE_START = os.environ.get("LABKIT_STRICT") == "1", _grading()


def strict() -> bool:
    """Return whether anything but a pass should raise: in CI on solutions, and while nbgrader grades."""
    return (
        _STRICT_FROM_THE_START
        or _GRADED_FROM_THE_START
        or os.environ.get("LABKIT_STRICT") == "1"
        or _grading()
    )


def check(id: str, attempt: Any) -> Outcome:
    """Check an attempt at exercise ``id``, show what came of it, and remember it in the learner's progress.

    Binds nothing: a second press judges the same attempt again. Never raises on a bad attempt, except in strict mode.
    The check runs with fixed seeds and gives the global random state back, so that checking twice gives the same
    answer and changes nothing that comes after.

    Parameters
    ----------
    id : str
        ``NN.name``.
    attempt : callable or value
        The learner's function or class (or their answer, where the exercise asks for a value).

    Raises
    ------
    LookupError
        If there is no such exercise.
    CheckFailed
        In strict mode (``LABKIT_STRICT=1``, or nbgrader autograding), unless the attempt passes.
    """
    item = find(id)
    outcome = judge(item, attempt)
    if outcome.status == WRONG:
        outcome = replace(outcome, tries=_tries(item.id, attempt))
    showing.show(outcome.html, str(outcome))
    if not _is_reference(item, attempt):
        _judged[item.id] = (outcome.status, attempt)
        if "NBGRADER_EXECUTION" not in os.environ and not _GRADED_FROM_THE_START:
            progress.record(item.id, outcome.status)
    if strict() and outcome.status != PASSED:
        raise CheckFailed(str(outcome))
    return outcome


def _tries(id: str, attempt: Any) -> int:
    """Return the how-many-th different wrong attempt this is; a second press of the same one is no new try."""
    # Code compares by what it does, so a cell that is run again is the same attempt.
    key = getattr(attempt, "__code__", attempt)
    known = _wrong.setdefault(id, [])
    if not any(type(old) is type(key) and (old is key or _equal(old, key)) for old in known):
        known.append(key)
    return len(known)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError, RuntimeError):  # arrays have no single answer
        return False


def passed(id: str) -> Any:
    """Return the learner's own answer to an exercise if its last check in this process passed, else None."""
    status, attempt = _judged.get(id, (NOT_ATTEMPTED, None))
    return attempt if status == PASSED and not _leaning_on(id, attempt) else None


def judge(item: Exercise, attempt: Any) -> Outcome:
    """Run the check of an exercise on an attempt; show and record nothing."""
    if attempt is None or attempt is Ellipsis:
        return Outcome(item, NOT_ATTEMPTED)
    if _is_reference(item, attempt):
        remark = "This is labkit's own function, not yours: run the cell above first. Nothing was recorded."
        return Outcome(item, NOT_ATTEMPTED, remark=remark)
    if callable(item.answer) and not callable(attempt):
        because = "the check needs the function itself: pass its name, without parentheses"
        problem = Wrong(got=attempt, expected=f"a function like {brief(item.answer)}", because=because)
        return Outcome(item, WRONG, problem)
    calls = Watched(attempt, watch_input=not item.changes_input)
    borrowed = _leaning_on(item.id, attempt)
    try:
        with fixed_randomness(), _surroundings(attempt, borrowed), time_limit(item.seconds):
            item.run(calls.function)
    except Wrong as problem:
        return Outcome(item, WRONG, problem, attempt=attempt)
    except TooSlow:
        because = "an endless loop, or far too many steps: look at the condition of each while, and at what a loop runs over"
        got = f"still running after {item.seconds:g} seconds, so it was stopped"
        return Outcome(item, WRONG, Wrong(calls.given, got, "an answer within seconds", because))
    except (Exception, SystemExit) as error:
        # torch raises NotImplementedError too ("not implemented for 'Long'"): that is an attempt, and a wrong one.
        unwritten = isinstance(error, NotImplementedError) and "not implemented for" not in str(error)
        if unwritten and calls.raised is error:
            return Outcome(item, NOT_ATTEMPTED)
        return Outcome(item, WRONG, calls.explain(error))
    if calls.broken is not None:
        return Outcome(item, WRONG, calls.broken)
    return Outcome(item, PASSED, remark=_borrowing(borrowed), attempt=attempt)


def _is_reference(item: Exercise, attempt: Any) -> bool:
    code = getattr(attempt, "__code__", None)
    return attempt is item.answer or (code is not None and code is getattr(item.answer, "__code__", None))


def _leaning_on(id: str, attempt: Any) -> dict[str, str]:
    """Return {name: exercise} of the other exercises that a function calls by name and that have not passed.

    A right answer should not fail because an earlier one is wrong: its check lends it labkit's version of those.
    """
    code, space = getattr(attempt, "__code__", None), getattr(attempt, "__globals__", {})
    named = set(code.co_names) if code is not None else set()
    return {
        name: other
        for other, (status, function) in _judged.items()
        for name in named
        if other != id and status != PASSED and callable(function) and space.get(name) is function
    }


def _borrowing(borrowed: dict[str, str]) -> str:
    if not borrowed:
        return ""
    lent = ", ".join(borrowed)
    return f"Judged with labkit's {lent}, as yours has not passed. The cells below use labkit's version until it has."


def _surroundings(attempt: Any, borrowed: dict[str, str]) -> Any:
    """Bind, while a check runs, what the learner's function finds under the names that it borrows, and exit and quit."""
    space = getattr(attempt, "__globals__", None)
    if space is None:
        return nullcontext()
    lent: dict[str, Callable[..., Any]] = {name: find(other).answer for name, other in borrowed.items()}
    return names_bound(space, lent | {name: no_exit for name in ("exit", "quit") if name in space})
