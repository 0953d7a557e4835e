"""Benchmarks: loads their questions and gold answers from files or from the hub, and downloads the files."""
