"""Finds the answer in a response, and decides whether it is right."""
