"""Decides whether a model answers with dequantised weights, which is faster, and frees them when memory runs out."""

from __future__ import annotations

from typing import Literal

import psutil
import torch
from transformers import PreTrainedModel

from lilift.memory.guard import free_memory, is_out_of_memory
from lilift.model.decoding.dequantised_weights import dequantise, dequantised_bytes, quantise_again

Wanted = Literal["auto"] | bool
_SPARE = 1.25  # the share of memory that an estimate of temporary tensors must leave


def dequantise_if_it_fits(llm: PreTrainedModel, wanted: Wanted, *, batch_tokens: int) -> bool:
    """Dequantise an LLM's 4-bit weights for answering, if the recipe wants it and the device has room for it.

    Args:
        llm: the LLM on its device, with its adapter.
        wanted: the recipe's `evaluate.dequantize`; `auto` asks for room beside the answers.
        batch_tokens: tokens of prompts and answers side by side.

    Returns:
        Whether the LLM has dequantised weights now.
    """
    needed = dequantised_bytes(llm)
    if wanted is False or needed == 0:
        return False
    if wanted == "auto" and needed + _SPARE * answer_bytes(llm, batch_tokens) > free_bytes(llm.device):
        return False
    try:
        dequantise(llm)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        return False
    return True


def answer_bytes(llm: PreTrainedModel, batch_tokens: int) -> int:
    """An estimate of what answers take besides weights: keys and values, and the activations of a layer for all prompts."""
    config = llm.config.get_text_config()
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys_and_values = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * head
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    activations = 6 * config.hidden_size + 3 * inner
    return int(batch_tokens * (keys_and_values + activations) * llm.dtype.itemsize)


def free_bytes(device: torch.device) -> int:
    """The memory that this process can still get on a device, in bytes, within a limit that was set for it."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    free, total = torch.cuda.mem_get_info(device)
    held, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    limit = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return min(free + held, limit) - used


def free_dequantised(llm: PreTrainedModel) -> bool:
    """Free dequantised weights and recorded steps; return whether there were dequantised weights to free."""
    undone = quantise_again(llm)
    free_memory()
    return undone
