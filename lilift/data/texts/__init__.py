"""Instructions, translations and prompts: what is read, and from which files."""
