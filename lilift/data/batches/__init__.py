"""Tokenizes texts, and groups their rows into the batches of optimizer steps."""
