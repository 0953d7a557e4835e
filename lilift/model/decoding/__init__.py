"""How an LLM answers: many rows side by side, each as if it were alone."""
