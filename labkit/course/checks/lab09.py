"""Checks of lab 09, the ownership court: claims that may be heard, lines of evidence, and the trial."""

from labkit.course.checks import lab09_claims, lab09_lines, lab09_trial

__all__ = ["lab09_claims", "lab09_lines", "lab09_trial"]
