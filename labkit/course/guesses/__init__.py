"""Predictions: a guess is asked for before a result is shown, kept with the progress, and told beside the result."""
