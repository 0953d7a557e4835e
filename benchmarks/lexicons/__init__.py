"""Dictionaries: their coverage, and how well they are found in word vectors."""
