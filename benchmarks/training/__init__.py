"""What training reaches, and how fast."""
