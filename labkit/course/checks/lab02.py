"""The checks of lab 02."""

from labkit.course.checks import lab02_costs, lab02_sums, lab02_training

__all__ = ["lab02_costs", "lab02_sums", "lab02_training"]
