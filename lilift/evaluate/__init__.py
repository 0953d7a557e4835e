"""Evaluation: benchmarks, the models that answer them, and the scores of their answers."""
