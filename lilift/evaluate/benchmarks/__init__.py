"""Benchmarks: their questions and gold answers, from files or the hub, and where to get them."""
