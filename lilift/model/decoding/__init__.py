"""How an LLM answers: many rows side by side, each with the answer that it would give alone."""
