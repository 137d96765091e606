"""What the checks of lab 06 share: a number with named mistakes, an array as the stub promises."""

from __future__ import annotations

import math

import numpy as np

from labkit.course.exercises.exercise import Wrong


def expect_number(
    got: object, expected: float, given: str, causes: dict[float, str], otherwise: str, *, tolerance: float
) -> None:
    """Compare one number; when it is wrong, name the cause whose value it equals."""
    try:
        value = float(got)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Wrong(
            given=given, got=got, expected=f"{expected:.4f}", because="return one number: is there a return?"
        ) from None
    if math.isclose(value, expected, rel_tol=tolerance, abs_tol=1e-9):
        return
    cause = next(
        (text for wrong, text in causes.items() if math.isclose(value, wrong, rel_tol=1e-3)), otherwise
    )
    raise Wrong(given=given, got=f"{value:.4f}", expected=f"{expected:.4f}", because=cause)


def expect_array(got: object, given: str) -> np.ndarray:
    """Return what came back if it is the NumPy array that the stub promises: later cells compute with it."""
    if not isinstance(got, np.ndarray):
        what = "nothing came back: is there a return?" if got is None else f"that is a {type(got).__name__}"
        raise Wrong(given=given, got=got, expected="a NumPy array", because=f"{what}; return a NumPy array")
    return got
