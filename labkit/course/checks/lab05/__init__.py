"""Checks of lab 05, red team: against definitions, loops and SciPy, never the solution."""

from labkit.course.checks.lab05 import attacks, knowing

__all__ = ["attacks", "knowing"]
