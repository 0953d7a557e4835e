"""Benchmarks, answers, generation and scores."""
