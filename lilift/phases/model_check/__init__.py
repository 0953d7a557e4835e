"""Checks whether lilift can train a model, answer with it, merge it and export it, before any long work begins."""
