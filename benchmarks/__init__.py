"""Measurements behind every number in README and docs; `python -m benchmarks` lists them."""
