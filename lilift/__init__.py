"""lilift: teach an open LLM to reason in a language it barely knows, on one consumer GPU."""

__version__ = "0.1.0"
