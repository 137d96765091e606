"""Checks of lab 10, secure aggregation: the grid and its masks, keys, and hospitals that vanish."""

from labkit.course.checks import lab10_dropouts, lab10_keys, lab10_masks

__all__ = ["lab10_dropouts", "lab10_keys", "lab10_masks"]
