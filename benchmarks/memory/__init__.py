"""Planned and measured memory."""
