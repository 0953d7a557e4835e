"""From a response to its answer, and from its answer to right or wrong."""
