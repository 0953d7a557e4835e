"""Load any causal LLM that transformers supports, frozen and in 4 bits.

lilift names no model family here. Families differ in how they scale embeddings, how hidden states become logits, and which
tokens begin and end a text. lilift finds this out from the model itself when it loads it, by small trial runs.
"""

from __future__ import annotations

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lilift.model.four_bit_loading import keep_autograd_on_cpu, quantization
from lilift.model.llms import unsloth_backend
from lilift.model.llms.lean_layers.lean_llm import bind_lean_layers
from lilift.model.llms.llm_architecture import check_takes_embeddings
from lilift.model.llms.llm_tokenizer import load_llm_tokenizer
from lilift.model.llms.output_head import backbone_of, check_reads_embeddings
from lilift.model.llms.special_tokens import check_tokens_have_rows
from lilift.model.sources import loading, model_folder_or_hub
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import LLMSettings

# Names of an LLM's weights in the files of a multimodal checkpoint, and in the LLM alone.
_INSIDE_MULTIMODAL = {
    "^language_model.model": "model",
    "^language_model.lm_head": "lm_head",
    "^model.language_model": "model",
}


def load_llm(
    settings: LLMSettings, *, device: torch.device, longest_trained: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the frozen LLM of a recipe and its tokenizer.

    Args:
        settings: the recipe's section `llm`.
        device: gets the LLM.
        longest_trained: positions of the longest training row, if you want to train. Then `settings.backend` loads the LLM.

    Raises:
        ModelError: lilift cannot find or load it, or it does not accept embeddings in place of tokens.
        EnvironmentUnfit: the backend does not work here.
    """
    tokenizer = load_llm_tokenizer(settings)
    by_unsloth = longest_trained is not None and settings.backend == "unsloth"
    if longest_trained is not None and by_unsloth:
        llm = unsloth_backend.load_for_training(settings, longest=longest_trained, device=device)
    else:
        llm = _load_with_transformers(settings, device)
    # Some models come with default sampling and penalties, on which answers must not depend. Only the stop tokens stay.
    llm.generation_config = GenerationConfig(do_sample=False, eos_token_id=llm.generation_config.eos_token_id)
    if settings.gradient_checkpointing:
        enable_gradient_checkpointing(llm)
    with loading(settings.model, what="LLM"):
        check_tokens_have_rows(tokenizer, llm.get_input_embeddings().num_embeddings, settings.model, what="LLM")
        check_reads_embeddings(llm, settings.model)
        if by_unsloth:
            unsloth_backend.check_gradient_reaches_inputs(llm, backbone_of(llm), settings.model)
    return llm, tokenizer


def _load_with_transformers(settings: LLMSettings, device: torch.device) -> PreTrainedModel:
    location = model_folder_or_hub(settings.model)
    hub = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    with loading(settings.model, what="LLM"):
        whole = AutoConfig.from_pretrained(location, **hub)
        config = without_dropout(text_part(whole))
        check_takes_embeddings(config, settings.model)
        llm, report = AutoModelForCausalLM.from_pretrained(
            location,
            config=config,
            key_mapping=None if config is whole else dict(_INSIDE_MULTIMODAL),
            dtype=getattr(torch, settings.dtype),
            quantization_config=quantization(settings),
            device_map={"": device},
            use_safetensors=True,
            output_loading_info=True,
            **hub,
        )
    if report["missing_keys"]:
        raise ModelError(
            f"the weights of the LLM are incomplete: {min(report['missing_keys'])} is missing",
            where=settings.model,
            remedy="download it again, or check that the folder holds this model's weights",
        )
    llm.requires_grad_(False).eval()
    keep_autograd_on_cpu(llm)
    bind_lean_layers(llm, settings, device)
    return llm


def text_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the LLM alone. A checkpoint may also hold a vision tower (Gemma 3 from 4B), which lilift skips.

    A padding token that has no row in the embeddings (some copies of Llama 2) is left out, because transformers builds no
    such model, and lilift needs no padding token.
    """
    text = config.get_text_config(decoder=True)
    found = text if type(text) in MODEL_FOR_CAUSAL_LM_MAPPING else config
    pad, rows = getattr(found, "pad_token_id", None), getattr(found, "vocab_size", None)
    if pad is not None and rows is not None and pad >= rows:
        found.pad_token_id = None
    return found


def enable_gradient_checkpointing(llm: PreTrainedModel) -> None:
    """Keep one hidden state per layer while training, and compute the rest again in the backward pass."""
    # Later versions of transformers use the first name.
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """Set every dropout of a configuration to 0, so that a frozen model computes the same in training as in evaluation."""
    for part in (config, config.get_text_config()):
        for name, value in part.to_dict().items():
            if isinstance(value, float) and ("dropout" in name or name.endswith(("_pdrop", "_drop"))):
                setattr(part, name, 0.0)
    return config
