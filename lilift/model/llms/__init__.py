"""The LLM in 4 bits with its adapter, loaded by transformers or by unsloth; and an LLM without a bridge."""
