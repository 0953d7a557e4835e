"""Loads the configurations of models without their weights, if possible without a download, and predicts what loading takes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from lilift.model.encoders.encoder_architecture import loader_of, text_encoder_in
from lilift.model.llms.llm import text_part
from lilift.model.llms.llm_architecture import check_takes_embeddings
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LLMSettings, Recipe


def load_config(name: str, revision: str | None, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """A model's configuration: from its folder, the hub's cache, lilift's own `known_models`, or the hub, in this order.

    Raises:
        ModelError: none of them has it.
    """
    location = model_folder_or_hub(name)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    known = resources.files("lilift.memory") / "known_models" / f"{name.replace('/', '--')}.json"
    if known.is_file():
        try:
            with loading(name, what="model's configuration"):
                return AutoConfig.from_pretrained(location, local_files_only=True, **options)
        except ModelError:
            fields = json.loads(known.read_text(encoding="utf-8"))
            return AutoConfig.for_model(**fields)
    with loading(name, what="model's configuration"):
        return AutoConfig.from_pretrained(location, **options)


def load_llm_config(settings: LLMSettings) -> PreTrainedConfig:
    """The configuration of a recipe's LLM. For a multimodal checkpoint, it is the configuration of the LLM inside it.

    Raises:
        ModelError: as `load_config`, or the LLM cannot read soft tokens.
    """
    found = text_part(load_config(settings.model, settings.revision, trust_remote_code=settings.trust_remote_code))
    check_takes_embeddings(found, settings.model)
    return found


def layer_count(settings: LLMSettings) -> int:
    """How many transformer layers a recipe's LLM has.

    Raises:
        ModelError: as `load_llm_config`.
    """
    return int(load_llm_config(settings).num_hidden_layers)


def load_models(recipe: Recipe) -> tuple[PreTrainedConfig, PreTrainedConfig | None]:
    """Configurations of a recipe's LLM and of its encoder, if it has one.

    Raises:
        ModelError: as `load_config`.
    """
    encoder = load_config(recipe.encoder.model, recipe.encoder.revision) if recipe.has_encoder else None
    return load_llm_config(recipe.llm), encoder


def empty_llm(config: PreTrainedConfig) -> PreTrainedModel:
    """The LLM on the meta device: every parameter has its shape and takes no memory."""
    with loading(config.name_or_path or "the LLM", what="LLM"), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def empty_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """The encoder on the meta device; of an encoder-decoder, only the encoder half."""
    with loading(config.name_or_path or "the encoder", what="encoder"), torch.device("meta"):
        return text_encoder_in(loader_of(config).from_config(config))


def loading_parts(
    recipe: Recipe, models: tuple[PreTrainedConfig, PreTrainedConfig | None], parts: Mapping[str, int]
) -> dict[str, int]:
    """Bytes by category at the peak of loading on a CPU, which can be more than a phase takes afterwards.

    The encoder loads first, then the LLM. The files of the weights are mapped into memory. Their pages count as the process's
    memory until a model is complete, beside the weights that lilift makes of them: quantised, or in another number type. The
    operating system may take these pages back at any time if memory is scarce.

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
    count: int = sum(parameter.numel() for parameter in model.parameters())
    return count * stored_bytes(config)
