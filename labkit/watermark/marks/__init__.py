"""Marks: keyed triggers, patterns, and the schemes that put them into a model."""
