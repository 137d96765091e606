"""The course around the package: exercises with checks, progress, lab metadata, and the notebook build."""

from labkit.course.checking import CheckFailed, Outcome, check
from labkit.course.exercises import Exercise, Wrong, exercise, expect_close, find
from labkit.course.labs import banner
from labkit.course.overview import overview

__all__ = [
    "CheckFailed",
    "Exercise",
    "Outcome",
    "Wrong",
    "banner",
    "check",
    "exercise",
    "expect_close",
    "find",
    "overview",
]
