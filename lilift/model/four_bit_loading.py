"""How transformers and bitsandbytes load weights in 4 bits."""

from __future__ import annotations

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from lilift.model.training_libraries import bitsandbytes
from lilift.recipe.schema import Dtype, LLMSettings


def quantization(settings: LLMSettings) -> BitsAndBytesConfig | None:
    """How bitsandbytes quantises the LLM's weights: NF4 with double quantisation (QLoRA, arXiv 2305.14314), or None."""
    return nf4(settings.dtype) if settings.quantization == "nf4" else None


def nf4(dtype: Dtype, *, skip: list[str] | None = None) -> BitsAndBytesConfig:
    """NF4 with double quantisation.

    Args:
        dtype: the precision of the computation.
        skip: names of layers that stay unquantised; by default the output head.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=skip,  # holds for 4 bits too, in spite of its name
    )


def keep_autograd_on_cpu(llm: nn.Module) -> None:
    """Keep 4-bit layers differentiable on CPUs with AVX512-BF16.

    On such CPUs bitsandbytes repacks the weights at the first forward pass in evaluation mode, for a kernel without a backward
    pass. Training after an evaluation would then silently learn nothing.
    """
    for module in llm.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
