"""The encoder, the alignment layer, the 4-bit LLM, and the bridge that joins them."""
