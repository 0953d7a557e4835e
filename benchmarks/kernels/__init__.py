"""The Triton kernels and what they are compared with."""
