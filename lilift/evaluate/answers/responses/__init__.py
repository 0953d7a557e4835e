"""Finds the parts of a response: where its first answer ends, its labels, and the places that announce an answer."""
