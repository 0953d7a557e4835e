"""Code-switching: English texts whose words are swapped for translations."""
