"""The alignment projection: encoder states into the LLM's input embeddings."""
