"""The course around the package: exercises with checks, progress, lab metadata, the notebook build, and grading."""

from typing import TYPE_CHECKING

from labkit import facade

if TYPE_CHECKING:
    from labkit.course.exercises.checking import CheckFailed as CheckFailed
    from labkit.course.exercises.checking import Outcome as Outcome
    from labkit.course.exercises.checking import check as check
    from labkit.course.exercises.exercise import Exercise as Exercise
    from labkit.course.exercises.exercise import Wrong as Wrong
    from labkit.course.exercises.exercise import exercise as exercise
    from labkit.course.exercises.exercise import expect_close as expect_close
    from labkit.course.exercises.exercise import find as find
    from labkit.course.exercises.overview import overview as overview
    from labkit.course.exercises.solved import Solved as Solved
    from labkit.course.guesses.telling import predict as predict
    from labkit.course.guesses.telling import predictions as predictions
    from labkit.course.guesses.telling import revealed as revealed
    from labkit.course.labs import banner as banner

__getattr__, __dir__, __all__ = facade.lazy(__name__)
