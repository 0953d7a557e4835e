"""Loads a run, an export or an LLM by name, so that it can answer questions."""
