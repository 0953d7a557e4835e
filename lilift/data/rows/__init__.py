"""Rows of data sets: read from files of every kind and from the Hugging Face hub, letter for letter."""
