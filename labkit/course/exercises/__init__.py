"""Exercises: how one is registered, checked, kept as progress and shown in the overview."""
