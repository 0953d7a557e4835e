"""Layers of a frozen LLM whose passes keep less memory, and the kernels of their elementwise parts."""
