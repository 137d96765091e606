"""Checks of lab 08, marks that last: against definitions, loops over numbers, and libraries that do the same."""

from labkit.course.checks import lab08_answers, lab08_weights

__all__ = ["lab08_answers", "lab08_weights"]
