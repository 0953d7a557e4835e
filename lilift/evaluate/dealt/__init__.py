"""Questions that several processes or jobs share, and their answers put together: the same bytes as one process writes."""
