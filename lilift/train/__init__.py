"""Training: the step, the loop, the two stages, and checkpoints."""
