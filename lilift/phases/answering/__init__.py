"""A run, an export or an LLM by name, loaded and ready to be asked."""
