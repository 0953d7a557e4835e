"""Which LLMs lilift cannot train, as `config.json` alone says it; this needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilift.recipe.errors import ModelError


def check_no_embeddings_per_layer(config: Mapping[str, Any], where: str | Path) -> None:
    """Check that an LLM can read soft tokens, which are embeddings of no token.

    Gemma 3n and the small models of Gemma 4 (E2B, E4B) look up further embeddings in every layer by the number of the token.

    Args:
        config: the content of `config.json`, of the LLM alone.
        where: the LLM, for errors.

    Raises:
        ModelError: the LLM needs the numbers of all tokens.
    """
    if config.get("hidden_size_per_layer_input"):
        raise ModelError(
            f"an LLM of the kind {config.get('model_type')} has embeddings of each token in every layer, and soft tokens have "
            "none",
            where=where,
            remedy="choose another LLM, such as Gemma 3 or Qwen3",
        )


def check_can_quantise(config: Mapping[str, Any], where: str | Path) -> None:
    """Check that lilift can load an LLM in 4 bits: that its files are not quantised in another way.

    transformers quantises no weights that GPTQ, AWQ, FP8 or MXFP4 have quantised before. It loads weights of bitsandbytes.

    Args:
        config: the content of `config.json`, of the LLM alone.
        where: the LLM, for errors.

    Raises:
        ModelError: the weights are quantised.
    """
    stored = config.get("quantization_config") or {}
    method = stored.get("quant_method") or ("bitsandbytes" if {"load_in_4bit", "load_in_8bit"} & stored.keys() else "?")
    if stored and method != "bitsandbytes":
        raise ModelError(
            f"the LLM's weights are already quantised ({method}), so that lilift cannot load them in 4 bits",
            where=where,
            remedy="choose the original model with 16-bit weights; lilift quantises it while it loads it",
        )
