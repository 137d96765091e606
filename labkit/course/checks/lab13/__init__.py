"""Checks of lab 13, the privacy review board: what a claim is worth, what evidence shows, and what follows from both."""

from labkit.course.checks.lab13 import claims, decision, evidence

__all__ = ["claims", "decision", "evidence"]
