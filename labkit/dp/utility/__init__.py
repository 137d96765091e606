"""Accuracy under a budget: features, pipelines, the trade-off curve, the search and the decision."""
