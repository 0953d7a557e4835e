"""Answers: speed, and accuracy after export."""
