"""Studies over several models: comparisons, defences, leave-one-out."""
