"""What a check sees of a learner's function: its last call, arguments changed in place, and the type it promised."""

from __future__ import annotations

import functools
import inspect
import numbers
import traceback
import types
import typing
from collections.abc import Callable
from typing import Any

from labkit.course.exercises.exercise import Wrong

CAUSES = {
    AttributeError: "a value is not of the type that the code takes it for (a list where a tensor was meant, or None)",
    IndexError: "an index lies outside of its sequence or dimension: compare it with the shape of the input",
    KeyError: "the key is not in the dictionary: look at the keys that the input has",
    MemoryError: "more memory was asked for than there is: look at the shape of what is made",
    NameError: "a name is misspelt, or the cell that defines it has not run",
    RecursionError: "the function calls itself without end",
    SystemExit: "exit() and quit() end Python: give a value back with return, or raise an error",
    RuntimeError: "shapes or types do not fit together: print .shape and .dtype of both sides before that line",
    TypeError: "the arguments do not fit: compare the number, order and type of the arguments with the stub",
    ValueError: "a value or a shape is outside of what that function takes: print it before that line",
    ZeroDivisionError: "something is divided by zero: guard against an empty or all-zero input",
}


class Watched:
    """Stands before a learner's function.

    Attributes
    ----------
    function : callable
        What the check calls in its place.
    given, returned, raised
        The arguments of the last call by name, and what came of it.
    broken : Wrong or None
        The first result that was not of the type that the function's own first line promises.
    """

    def __init__(self, attempt: Any, *, watch_input: bool) -> None:
        self.given: Any = None
        self.returned: Any = None
        self.raised: BaseException | None = None
        self.broken: Wrong | None = None
        self.watch_input = watch_input
        plain_function = callable(attempt) and not isinstance(attempt, type) and hasattr(attempt, "__name__")
        self.function = self._watched(attempt) if plain_function else attempt

    def _watched(self, attempt: Callable[..., Any]) -> Callable[..., Any]:
        promised = promise(attempt)

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
                    "the function changes its input in place: work on a copy\nx.clone(), x.copy(), list(x)"
                )
                unchanged = dict(zip(self.given, [*before[0], *before[1].values()], strict=True))
                raise Wrong(unchanged, "a changed input", "an input left alone", because)
            if self.broken is None and not keeps(self.returned, promised):
                self.broken = _broken(self.given, self.returned, promised)
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


def promise(function: Callable[..., Any]) -> Any:
    """Return the type that a function's first line promises, or ``Any`` where it names none that can be found."""
    try:
        named = inspect.signature(function, eval_str=True).return_annotation
    except Exception:  # whatever a learner wrote there
        return Any
    return Any if named is inspect.Signature.empty else named


def keeps(value: Any, promised: Any) -> bool:
    """Return whether a value is of a promised type; tuples are looked into, other containers are not.

    Numbers of NumPy count as ``float``, ``int`` and ``bool``; a tensor or array of one number does not.

    Examples
    --------
    >>> keeps(0.5, float), keeps((1, 2.0), tuple[int, float]), keeps([1], tuple[int])
    (True, True, False)
    """
    origin, parts = typing.get_origin(promised), typing.get_args(promised)
    if promised is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(keeps(value, part) for part in parts)
    if promised is None or promised is type(None):
        return value is None
    if promised in (float, int, bool):
        return isinstance(value, {float: numbers.Real, int: numbers.Integral}.get(promised, bool)) or (
            promised is bool and type(value).__name__ == "bool"
        )
    if origin is tuple and Ellipsis not in parts:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(keeps, value, parts))
    try:
        return isinstance(value, origin or promised)
    except TypeError:  # text, type variables, protocols: nothing that a value can be held to
        return True


def _broken(given: Any, value: Any, promised: Any) -> Wrong:
    name = (
        promised.__name__ if isinstance(promised, type) and not typing.get_args(promised) else str(promised)
    )
    came = type(value).__name__
    if isinstance(value, tuple):
        came = f"({', '.join(type(part).__name__ for part in value)})"
    because = (
        f"the numbers are right, but the function's first line promises {name}, and the cells below count on it: "
        "convert what you return (float(x), x.numpy(), torch.from_numpy(x))"
    )
    return Wrong(given=given, got=f"a result of type {came}", expected=name, because=because)


def _parameters(function: Callable[..., Any], count: int) -> list[str]:
    """Return names for ``count`` positional arguments, from the signature where it has them."""
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
    if notes := getattr(
        error, "__notes__", None
    ):  # it comes from another process, which named the line itself
        return f"\n{notes[0]}"
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
