"""Exports a run: merged weights, GGUF files, a program that runs them, and a server."""
