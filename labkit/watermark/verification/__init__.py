"""Verification: questions to a suspect, null models, p-values and the verdict on a mark."""
