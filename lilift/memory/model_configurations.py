"""Loads the configurations of models without their weights, and without a download if possible."""

from __future__ import annotations

import json
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
