"""Predicts the memory of a process on a CPU while it loads the models, which can be more than a phase takes afterwards.

The files of the weights are mapped into memory. Their pages count as the process's memory until a model is complete, beside the
weights that lilift makes of them: quantised, or in another number type. The operating system may take these pages back at any
time if memory is scarce.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from lilift.memory.model_configurations import empty_encoder, empty_llm
from lilift.memory.simulation.simulate import Models
from lilift.recipe.schema import Recipe


def loading_parts(recipe: Recipe, models: Models, parts: Mapping[str, int]) -> dict[str, int]:
    """Bytes by category at the peak of loading. The encoder loads first, then the LLM.

    Args:
        recipe: the recipe.
        models: configurations of the LLM and the encoder.
        parts: bytes by category once both are loaded.
    """
    llm_config, encoder_config = models
    encoder, llm = parts.get("encoder", 0), parts.get("llm", 0)
    with_llm = {"encoder": encoder, "llm": llm, "temporaries": _mapped(empty_llm(llm_config), llm_config, recipe.llm)}
    if encoder_config is None:
        return with_llm
    # This needs a copy, because transformers changes the configuration of an encoder that it builds alone.
    half = empty_encoder(copy.deepcopy(encoder_config))
    alone = {"encoder": encoder, "temporaries": _mapped(half, encoder_config, recipe.encoder)}
    return max(with_llm, alone, key=lambda parts: sum(parts.values()))


def stored_bytes(config: PreTrainedConfig) -> int:
    """Bytes for each parameter in a model's files: from the configuration, or float32 if it names no dtype."""
    dtype = getattr(config, "dtype", None)
    return dtype.itemsize if isinstance(dtype, torch.dtype) else 4


def _mapped(model: PreTrainedModel, config: PreTrainedConfig, settings: object) -> int:
    """Bytes of a model's files that are mapped beside its weights; 0 if the mapped files are the weights."""
    dtype: torch.dtype = getattr(torch, getattr(settings, "dtype"))  # noqa: B009
    if getattr(settings, "quantization", "none") == "none" and dtype.itemsize == stored_bytes(config):
        return 0
    return sum(parameter.numel() for parameter in model.parameters()) * stored_bytes(config)
