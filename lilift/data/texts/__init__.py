"""Instructions, conversations, translations and prompts: what the columns of a row mean."""
