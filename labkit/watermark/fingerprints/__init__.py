"""Lines of evidence that need no mark: shared mistakes, agreement, dataset inference."""
