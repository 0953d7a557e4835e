"""Serves an exported bridge on this machine: an API for OpenAI clients (chat completions), and a web page."""
