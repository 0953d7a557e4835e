"""Runs an exported bridge with llama.cpp: encoder, alignment layer and LLM. It never imports torch or transformers."""
