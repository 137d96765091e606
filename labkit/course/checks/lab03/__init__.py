"""Checks of lab 03, utility for a target: against autograd, eigenvectors, Google's accountant, SciPy and enumeration."""

from labkit.course.checks.lab03 import choices, comparisons, features

__all__ = ["choices", "comparisons", "features"]
