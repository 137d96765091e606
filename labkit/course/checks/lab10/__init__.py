"""Checks of lab 10, secure aggregation: the grid and its masks, keys, and hospitals that vanish."""

from labkit.course.checks.lab10 import dropouts, keys, masks

__all__ = ["dropouts", "keys", "masks"]
