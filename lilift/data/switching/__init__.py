"""Code-switching: swaps words of English texts for their translations."""
