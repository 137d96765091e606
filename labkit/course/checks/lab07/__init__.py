"""Checks of lab 07: mark, steal, verify, and measure what the mark did."""

from labkit.course.checks.lab07 import evidence, marks

__all__ = ["evidence", "marks"]
