"""Checks of lab 04, membership inference: against PyTorch, brute force and loops, never the solution."""

from labkit.course.checks.lab04 import attacks, differences

__all__ = ["attacks", "differences"]
