"""``check``: try an attempt, say what came of it, and let the notebook run on whatever that was."""

from __future__ import annotations

import functools
import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from labkit.course import showing
from labkit.course.exercises import progress
from labkit.course.exercises.exercise import Exercise, Wrong, find
from labkit.course.showing import brief

NOT_ATTEMPTED, WRONG, PASSED = "not attempted", "wrong", "passed"
CAUSES = {
    AttributeError: "a value is not of the type that the code takes it for (a list where a tensor was meant, or None)",
    IndexError: "an index lies outside of its sequence or dimension: compare it with the shape of the input",
    KeyError: "the key is not in the dictionary: look at the keys that the input has",
    NameError: "a name is misspelt, or the cell that defines it has not run",
    SystemExit: "exit() and quit() end Python: give a value back with return, or raise an error",
    RuntimeError: "shapes or types do not fit together: print .shape and .dtype of both sides before that line",
    TypeError: "the arguments do not fit: compare the number, order and type of the arguments with the stub",
    ValueError: "a value or a shape is outside of what that function takes: print it before that line",
    ZeroDivisionError: "something is divided by zero: guard against an empty or all-zero input",
}


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
    function : object
        What the notebook goes on with: the learner's own answer if it passed, else the reference.
    """

    exercise: Exercise
    status: str
    attempt: Any = field(repr=False)
    problem: Wrong | None = None

    @property
    def function(self) -> Any:
        return self.attempt if self.status == PASSED else self.exercise.answer

    def _parts(self) -> tuple[str, str, list[tuple[str, str]], str]:
        heading = f"{self.exercise.id}: {self.exercise.title}"
        if self.status == PASSED:
            return PASSED, heading, [], "The cells below use your version."
        if self.problem is None:
            closing = "The cells below use labkit's version; three hints stand by the exercise."
            return NOT_ATTEMPTED, heading, [], closing
        names = (("Input", "given"), ("Yours", "got"), ("Expected", "expected"))
        lines = [
            (name, brief(getattr(self.problem, key)))
            for name, key in names
            if getattr(self.problem, key) is not None
        ]
        lines.append(("Likely cause", self.problem.because))
        return WRONG, heading, lines, "The cells below use labkit's version until yours passes."

    def __str__(self) -> str:
        return showing.plain(*self._parts())

    @property
    def html(self) -> str:
        """The outcome as one HTML box."""
        return showing.box(*self._parts())

    def _ipython_display_(self) -> None:
        """Show nothing: `check` has shown it, and the last line of a cell would show it twice."""


def strict() -> bool:
    """Return whether anything but a pass should raise: in CI on solutions, and while nbgrader grades."""
    return os.environ.get("LABKIT_STRICT") == "1" or os.environ.get("NBGRADER_EXECUTION") in (
        "autograde",
        "validate",
    )


def check(id: str, attempt: Any) -> Outcome:
    """Check an attempt at exercise ``id``, show what came of it, and remember it in the learner's progress.

    Never raises on a bad attempt, except in strict mode. The check runs with fixed seeds and gives the global random
    state back, so that checking twice gives the same answer and changes nothing that comes after.

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
    outcome = _judge(item, attempt)
    showing.show(outcome.html, str(outcome))
    if "NBGRADER_EXECUTION" not in os.environ:
        progress.record(item.id, outcome.status)
    if strict() and outcome.status != PASSED:
        raise CheckFailed(str(outcome))
    return outcome


def _judge(item: Exercise, attempt: Any) -> Outcome:
    if attempt is None or attempt is Ellipsis:
        return Outcome(item, NOT_ATTEMPTED, attempt)
    if callable(item.answer) and not callable(attempt):
        because = "the check needs the function itself: pass its name, without parentheses"
        problem = Wrong(got=attempt, expected=f"a function like {brief(item.answer)}", because=because)
        return Outcome(item, WRONG, attempt, problem)
    calls = _Calls(attempt, watch_input=not item.changes_input)
    try:
        with _fixed_randomness():
            item.run(calls.function)
    except Wrong as problem:
        return Outcome(item, WRONG, attempt, problem)
    except (Exception, SystemExit) as error:
        # torch raises NotImplementedError too ("not implemented for 'Long'"): that is an attempt, and a wrong one.
        unwritten = isinstance(error, NotImplementedError) and "not implemented for" not in str(error)
        if unwritten and calls.raised is error:
            return Outcome(item, NOT_ATTEMPTED, attempt)
        return Outcome(item, WRONG, attempt, calls.explain(error))
    return Outcome(item, PASSED, attempt)


class _Calls:
    """Stands before a learner's function: remembers the last call, and notices arguments changed in place."""

    def __init__(self, attempt: Any, *, watch_input: bool) -> None:
        self.given: Any = None
        self.returned: Any = None
        self.raised: BaseException | None = None
        self.watch_input = watch_input
        plain_function = callable(attempt) and not isinstance(attempt, type) and hasattr(attempt, "__name__")
        self.function = self._watched(attempt) if plain_function else attempt

    def _watched(self, attempt: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(attempt)
        def call(*args: Any, **kwargs: Any) -> Any:
            before = _snapshot((args, kwargs)) if self.watch_input else None
            self.given = dict(zip(_parameters(attempt, len(args)), args, strict=True)) | kwargs
            self.raised = self.returned = None
            try:
                self.returned = attempt(*args, **kwargs)
            except (Exception, SystemExit) as error:
                self.raised = error
                raise
            if self.watch_input and not _same(before, _snapshot((args, kwargs))):
                because = (
                    "the function changes its input in place: work on a copy (x.clone(), x.copy(), list(x))"
                )
                unchanged = dict(zip(self.given, [*before[0], *before[1].values()], strict=True))
                raise Wrong(unchanged, "a changed input", "an input left alone", because)
            return self.returned

        return call

    def explain(self, error: BaseException) -> Wrong:
        """Turn an unforeseen exception into what the learner can use."""
        text = f"{type(error).__name__}: {error}"
        if self.raised is error or self.given is None:
            return Wrong(
                given=self.given, got=text + _line(error), expected="no error", because=_cause(error)
            )
        because = (
            f"what came back is of another type or shape than the task asks for; the check stopped at {text}"
        )
        return Wrong(
            given=self.given, got=self.returned, expected="see the stub's docstring", because=because
        )


def _parameters(function: Callable[..., Any], count: int) -> list[str]:
    """Return names for ``count`` positional arguments, from the signature where it has them."""
    import inspect

    try:
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in range(count)]


def _cause(error: BaseException) -> str:
    return next(
        (text for kind, text in CAUSES.items() if isinstance(error, kind)), "the code stops before its end"
    )


def _line(error: BaseException) -> str:
    """Return the source line of the notebook or file that failed, or nothing."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.line and f.filename != __file__]
    return f"\nat the line: {frames[-1].line.strip()}" if frames else ""


def _snapshot(value: Any) -> Any:
    """Copy arrays, tensors and plain containers, to any depth; leave all else out of the comparison."""
    if isinstance(value, dict):
        return {key: _snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_snapshot(item) for item in value]
    if hasattr(value, "detach") and hasattr(value, "clone"):
        return value.detach().cpu().clone().numpy()
    if hasattr(value, "dtype") and hasattr(value, "copy") and hasattr(value, "shape"):
        return value.copy()
    return value if isinstance(value, int | float | str | bool | None) else None


def _same(a: Any, b: Any) -> bool:
    import numpy as np

    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "dtype") or isinstance(a, float):
        return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind in "fc"))
    return bool(a == b)


@contextmanager
def _fixed_randomness(seed: int = 0) -> Iterator[None]:
    """Run the block with seeded global generators (Python, NumPy, torch), then put their states back."""
    import numpy as np
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    python, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
