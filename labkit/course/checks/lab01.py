"""Checks of lab 01, differential privacy: against definitions, enumeration and numerical integrals, never the solution."""

from labkit.course.checks import lab01_attackers, lab01_mechanisms

__all__ = ["lab01_attackers", "lab01_mechanisms"]
