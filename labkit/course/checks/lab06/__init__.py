"""Checks of lab 06: epsilon from below, and conformance step by step."""

from labkit.course.checks.lab06 import bounds, steps

__all__ = ["bounds", "steps"]
