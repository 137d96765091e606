"""Mechanisms that release numbers and categories with differential privacy, and their sensitivity."""
