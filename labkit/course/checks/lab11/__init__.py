"""Checks of lab 11, the capstone: one hospital's part of a round, the server's step, and what a mark proves."""

from labkit.course.checks.lab11 import rounds  # noqa: I001 (in the lab's order, which is that of its table)
from labkit.course.checks.lab11 import marks

__all__ = ["marks", "rounds"]
