"""Benchmarks of your own: finds the files, recognises their columns, and reads questions and right answers."""
