"""Checks of lab 01, differential privacy: against definitions, enumeration and numerical integrals, never the solution."""

from labkit.course.checks.lab01 import mechanisms  # isort: skip
from labkit.course.checks.lab01 import composition  # isort: skip
from labkit.course.checks.lab01 import attackers  # isort: skip - in the order of the lab

__all__ = ["attackers", "composition", "mechanisms"]
