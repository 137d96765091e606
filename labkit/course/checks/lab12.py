"""Checks of lab 12, the threat analysis: what leaks, who can attack, and how a finding is judged."""

from labkit.course.checks import lab12_attacks, lab12_leaks

__all__ = ["lab12_attacks", "lab12_leaks"]
