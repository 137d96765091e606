"""Private training: the loop, its engines of per-record gradients, its checkpoints and results."""
