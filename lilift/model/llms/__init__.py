"""The LLM: loaded in 4 bits, with its adapter, by transformers or by unsloth, or asked as it comes."""
