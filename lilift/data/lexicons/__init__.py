"""Dictionaries: read, cleaned, kept, measured on a text, and who publishes them."""
