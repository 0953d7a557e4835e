"""A phase's own code on fake tensors: what it holds in memory, and what the card's allocator makes of it."""
