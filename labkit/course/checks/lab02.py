"""Checks of lab 02, DP-SGD: by statistics, by replay and against Opacus and Google's accountant, never the solution."""

from labkit.course.checks import lab02_batches, lab02_loop, lab02_statement

__all__ = ["lab02_batches", "lab02_loop", "lab02_statement"]
