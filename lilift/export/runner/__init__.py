"""Runs an exported bridge with llama.cpp: encoder, alignment layer, LLM. Never imports torch or transformers."""
