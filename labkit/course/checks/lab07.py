"""Checks of lab 07: mark, steal, verify, and measure what the mark did."""

from labkit.course.checks import lab07_evidence, lab07_marks

__all__ = ["lab07_evidence", "lab07_marks"]
