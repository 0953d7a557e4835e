"""The two hot paths of lilift: the loss over the vocabulary, in Triton and in plain torch, and the alignment projection.

This package imports torch and, if it is installed, triton. It imports nothing of lilift.
"""

from __future__ import annotations

from lilift_kernels.dispatch import KernelReport, TritonFallbackWarning, describe
from lilift_kernels.loss.linear_cross_entropy import linear_cross_entropy, workspace_bytes
from lilift_kernels.projection.alignment_projection import project_into

__all__ = [
    "KernelReport",
    "TritonFallbackWarning",
    "describe",
    "linear_cross_entropy",
    "project_into",
    "workspace_bytes",
]
