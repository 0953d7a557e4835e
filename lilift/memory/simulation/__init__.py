"""Runs a phase's own code on fake tensors, and computes the memory that it and the card's allocator need."""
