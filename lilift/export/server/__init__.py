"""Serves an exported bridge on this machine: chat completions that OpenAI's clients understand, and a web page."""
