"""The phase that adapts the encoder, and the encoder of a run for the phases after it."""
