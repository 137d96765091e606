"""Checks of lab 11, the capstone: one hospital's part of a round, the server's step, and what a mark proves."""

from labkit.course.checks import lab11_rounds  # noqa: I001 (in the lab's order, which is that of its table)
from labkit.course.checks import lab11_marks

__all__ = ["lab11_marks", "lab11_rounds"]
