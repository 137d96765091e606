"""Checks of lab 09, the ownership court: claims that may be heard, lines of evidence, and the trial."""

from labkit.course.checks.lab09 import claims, lines, trial

__all__ = ["claims", "lines", "trial"]
