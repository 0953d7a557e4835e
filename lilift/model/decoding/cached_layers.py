"""Which LLMs lilift can generate with: those whose layers remember a text as keys and values, and nothing else.

lilift drops rows and columns of the cache while other rows continue (`lilift.model.decoding.key_value_cache`). A layer that
keeps one state for the whole text, as Mamba's do, has no columns. This module needs no torch, so that lilift can check a
recipe at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lilift.recipe.errors import ModelError

# `attention` is the spelling of older configurations.
_KEYS_AND_VALUES = {"full_attention", "sliding_attention", "attention"}
# Families whose configurations do not list their layers, with a kind of layer that keeps another state.
_UNLISTED = {
    "bamba": "mamba",
    "falcon_h1": "mamba",
    "falcon_mamba": "mamba",
    "jamba": "mamba",
    "lfm2": "conv",
    "lfm2_moe": "conv",
    "mamba": "mamba",
    "mamba2": "mamba",
    "nemotron_h": "mamba",
    "qwen3_5": "linear_attention",
    "qwen3_5_moe": "linear_attention",
    "qwen3_5_moe_text": "linear_attention",
    "qwen3_5_text": "linear_attention",
    "qwen3_next": "linear_attention",
    "recurrent_gemma": "recurrent",
    "rwkv": "recurrent",
    "xlstm": "recurrent",
    "zamba": "mamba",
    "zamba2": "mamba",
}


def uncached_layers(config: Mapping[str, Any]) -> str | None:
    """The kind of an LLM's layers that keep something else than keys and values; None if there are no such layers.

    Args:
        config: the content of `config.json`, of the LLM alone.
    """
    listed: Iterable[str] = config.get("layer_types") or ()
    kinds = set(listed) or {_UNLISTED.get(config.get("model_type", ""), "full_attention")}
    return min(kinds - _KEYS_AND_VALUES, default=None)


def check_cached_layers(config: Mapping[str, Any], where: str | Path) -> None:
    """Check from an LLM's configuration that all its layers keep keys and values.

    Args:
        config: the content of `config.json`, of the LLM alone.
        where: the LLM, for errors.

    Raises:
        ModelError: a layer keeps something else.
    """
    kind = uncached_layers(config)
    if kind is not None:
        raise cannot_generate(kind, where)


def cannot_generate(kind: str, where: str | Path) -> ModelError:
    """The error for an LLM with layers of this kind."""
    return ModelError(
        f"the LLM has layers of a kind that lilift cannot generate with: {kind}",
        where=where,
        remedy="choose an LLM with full or sliding attention",
    )
