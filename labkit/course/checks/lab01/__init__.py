"""Checks of lab 01, differential privacy: against definitions, enumeration and numerical integrals, never the solution."""

from labkit.course.checks.lab01 import attackers, mechanisms

__all__ = ["attackers", "mechanisms"]
