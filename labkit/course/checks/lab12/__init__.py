"""Checks of lab 12, the threat analysis: what leaks, who can attack, and how a finding is judged."""

from labkit.course.checks.lab12 import attacks, leaks

__all__ = ["attacks", "leaks"]
