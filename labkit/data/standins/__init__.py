"""Records drawn by code from a seed, for when the real ones are not at hand."""
