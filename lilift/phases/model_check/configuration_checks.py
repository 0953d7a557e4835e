"""Checks models from their small files with transformers: on empty models, which have every layer and no weights.

These checks need torch. They find what configurations alone do not say: whether transformers knows the model, whether its
tokenizer loads, whether LoRA fits its layers, and whether its files hold the weights that the adapter changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_MAPPING,
)
from transformers.pytorch_utils import Conv1D

from lilift.data.texts.prompt_templates import CHAT, template_of
from lilift.export.gguf.encoder_configuration import ARCHITECTURES as ENCODER_ARCHITECTURES
from lilift.export.gguf.gguf_part import EncoderPart, llm_vocabulary
from lilift.export.gguf.gguf_writer import DIRECT
from lilift.export.gguf.llm_configuration import FAMILIES as LLM_FAMILIES
from lilift.export.gguf.llm_gguf import LLMFile
from lilift.export.llm_folder import names_in_llm, read_config
from lilift.model.decoding.cached_layers import cannot_generate
from lilift.model.encoders.adaptable_encoder import check_adaptable
from lilift.model.encoders.encoder import check_positions, check_prefix, left_to_right, longest_text
from lilift.model.encoders.encoder_architecture import loader_of, reads_left_to_right, text_encoder_in
from lilift.model.encoders.encoder_tokenizer import load_encoder_tokenizer
from lilift.model.llms.llm import text_part
from lilift.model.llms.llm_architecture import check_takes_embeddings, layers_without_keys
from lilift.model.llms.lora import add_lora
from lilift.model.llms.special_tokens import check_tokens_have_rows, tokens_of
from lilift.model.sources import check_tokenizer, loading
from lilift.model.training_libraries import peft
from lilift.phases.model_check.file_checks import Problems, found_by
from lilift.phases.model_check.small_files import ModelFiles
from lilift.phases.model_check.weight_checks import check_weights_fit
from lilift.recipe.errors import LiliftError, ModelError
from lilift.recipe.schema import EncoderSettings, LLMSettings, Recipe


def llm_configuration_problems(files: ModelFiles, recipe: Recipe) -> Problems:
    """What transformers, peft and the exporter say against an LLM, in a run of this recipe."""
    adapted: list[peft.PeftModel] = []

    def trains() -> None:
        config = _llm_config(files, recipe.llm)
        check_takes_embeddings(config, files.name)
        with loading(files.name, what="LLM's tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=recipe.llm.trust_remote_code)
            check_tokenizer(tokenizer, files.name, what="LLM")
            tokens_of(config.eos_token_id, tokenizer, files.name)
            check_tokens_have_rows(tokenizer, config.vocab_size, files.name, what="LLM")
        if recipe.data.template == CHAT:
            template_of(CHAT, tokenizer)
        llm = _empty(lambda: AutoModelForCausalLM.from_config(config)) if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else None
        if llm is not None:
            check_weights_fit(llm, shapes, files.name, what="LLM", named_alike=LLM_FAMILIES)
        if llm is not None and recipe.trained_by("adapter") is not None:
            with_adapter = _empty(lambda: add_lora(llm, recipe.transfer.lora, seed=0))
            adapted.extend([] if with_adapter is None else [with_adapter])

    def answers() -> None:
        kind = layers_without_keys(_llm_config(files, recipe.llm))
        if kind is not None:
            raise cannot_generate(kind, files.name)

    def merges() -> None:
        for llm in adapted:
            _check_merges(llm, files.name, shapes)

    def writes() -> None:
        config = read_config(files.folder)
        tokens, vocabulary = llm_vocabulary(files.folder, config["vocab_size"])
        vocabulary.text(tokens.eos)
        for quantisation in [name for name in recipe.export.quantisations if name in DIRECT] or ["f16"]:
            LLMFile(config, shapes, vocabulary, quantisation, name=recipe.name, where=files.folder)

    shapes = {own: files.shapes[name] for name, own in names_in_llm(files.shapes).items()} if files.shapes else {}
    return found_by({"trains": trains, "answers": answers, "merges": merges, "gguf": writes}, files)


def encoder_configuration_problems(files: ModelFiles, settings: EncoderSettings, quantisation: str | None) -> Problems:
    """What transformers and the exporter say against an encoder.

    Args:
        files: the encoder's small files.
        settings: the recipe's section `encoder`.
        quantisation: the recipe's setting `export.encoder_quantisation`.
    """

    def trains() -> None:
        with loading(files.name, what="encoder"):
            config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
            known = [mapping for mapping in (MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING) if type(config) in mapping]
            if not known or known[0][type(config)].main_input_name != "input_ids":
                raise _unknown(config, "encoder", files.name)
            if reads_left_to_right(config):
                raise left_to_right(files.name)
            tokenizer = load_encoder_tokenizer(
                str(files.folder), None, config, settings.language_codes, text_prefix=settings.prefix
            )
            check_prefix(settings, tokenizer)
            if settings.adapt is not None:
                check_adaptable(config, files.name)
        whole = _empty(lambda: loader_of(config).from_config(config))
        if whole is not None:
            check_weights_fit(whole, files.shapes or {}, files.name, what="encoder", named_alike=ENCODER_ARCHITECTURES)
            check_positions(settings, longest_text(text_encoder_in(whole)))

    def writes() -> None:
        EncoderPart(settings, files.folder, quantisation, shapes=files.shapes if files.shapes is not None else {})

    return found_by({"trains": trains, "gguf": writes}, files)


def _llm_config(files: ModelFiles, settings: LLMSettings) -> PreTrainedConfig:
    with loading(files.name, what="LLM"):
        config = text_part(AutoConfig.from_pretrained(files.folder, trust_remote_code=settings.trust_remote_code))
    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not known and not settings.trust_remote_code:
        raise _unknown(config, "LLM", files.name)
    is_encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not config.is_decoder
    bidirectional = getattr(config, "use_bidirectional_attention", None) is True  # EmbeddingGemma
    if known and (config.is_encoder_decoder or is_encoder or bidirectional):
        raise ModelError(
            f"a model of the kind {config.model_type!r} is an encoder or an encoder-decoder, and no LLM",
            where=files.name,
            remedy="choose an LLM, such as Llama, Qwen or Gemma; an encoder belongs in `encoder.model`",
        )
    return config


def _unknown(config: PreTrainedConfig, what: str, name: str) -> ModelError:
    return ModelError(
        f"transformers has no text model for {config.model_type!r}, so it cannot be the {what}",
        where=name,
        remedy=f"choose another {what}",
    )


def _empty(build: Callable[[], Any]) -> Any:
    """A model without weights; None if the libraries cannot build it without weights.

    Raises:
        RecipeError: no layer fits `transfer.lora.target_modules`.
    """
    try:
        with torch.device("meta"):
            return build()
    except LiliftError:
        raise
    except Exception:  # it says nothing against the model itself, and this check must stop no run that would work
        return None


def _check_merges(adapted: peft.PeftModel, name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the files of an LLM hold the weights that its adapter changes.

    Raises:
        ModelError: lilift cannot merge the adapter.
    """
    for layer, module in adapted.get_base_model().named_modules() if shapes else ():
        if not hasattr(module, "lora_A"):
            continue
        if not isinstance(module.base_layer, nn.Linear | Conv1D):
            raise ModelError(
                f"the adapter would change {layer!r}, which is not a linear layer, so that lilift cannot merge it",
                where=name,
                remedy="name linear layers in `transfer.lora.target_modules`, such as [q_proj, k_proj, v_proj, o_proj]",
            )
        weight, expected = f"{layer}.weight", tuple(module.base_layer.weight.shape)
        stored = shapes.get(weight)
        if stored != expected:
            found = "do not have" if stored is None else f"have as {list(stored)} instead of {list(expected)}"
            raise ModelError(
                f"the adapter would change {weight!r}, which the model's files {found}",
                where=name,
                remedy="choose other layers with `transfer.lora.target_modules`",
            )
