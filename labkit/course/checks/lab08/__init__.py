"""Checks of lab 08, marks that last: against definitions, loops over numbers, and libraries that do the same."""

from labkit.course.checks.lab08 import answers, weights

__all__ = ["answers", "weights"]
