"""The step, the loop, the two stages, checkpoints."""
