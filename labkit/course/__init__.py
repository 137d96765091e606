"""The course around the package: exercises with checks, progress, lab metadata, and the notebook build."""

from labkit.course.exercises.checking import CheckFailed, Outcome, check
from labkit.course.exercises.exercise import Exercise, Wrong, exercise, expect_close, find
from labkit.course.exercises.overview import overview
from labkit.course.exercises.solved import Solved
from labkit.course.labs import banner

__all__ = [
    "CheckFailed",
    "Exercise",
    "Outcome",
    "Solved",
    "Wrong",
    "banner",
    "check",
    "exercise",
    "expect_close",
    "find",
    "overview",
]
