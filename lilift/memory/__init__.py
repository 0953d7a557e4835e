"""Plans, limits and measures the memory of a run on a card."""
