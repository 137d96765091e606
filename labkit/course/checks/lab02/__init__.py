"""Checks of lab 02, DP-SGD: by statistics, by replay and against Opacus and Google's accountant, never the solution."""

from labkit.course.checks.lab02 import batches, clipping, loop, statement

__all__ = ["batches", "clipping", "loop", "statement"]
