"""Scores: accuracy by language, comparisons of two systems, and statistics of the responses."""
