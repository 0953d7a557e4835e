"""Evaluations on the disk, compared question by question."""
