"""Merged weights to take away."""
