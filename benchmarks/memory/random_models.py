"""Bridges with the shapes of real models and random weights, quantised like real ones, without a download."""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace
from typing import Any

import bitsandbytes
import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from lilift.memory.simulation.fake_models import depth_of, quantise, with_depth
from lilift.memory.simulation.simulate import Models, decoder_layers
from lilift.model.alignment_layer import build_alignment
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder import UNQUANTISED, Encoder
from lilift.model.four_bit_loading import keep_autograd_on_cpu
from lilift.model.llms.lean_layers.lean_llm import bind_lean_layers
from lilift.model.llms.llm import enable_gradient_checkpointing, without_dropout
from lilift.model.llms.special_tokens import LLMTokens
from lilift.recipe.schema import Recipe


class RandomBridge(BridgedModel):
    """A bridge with random weights; the token that ends an answer is almost never the most likely one."""

    def _find_tokens(self, llm: PreTrainedModel, name: str) -> LLMTokens:  # noqa: ARG002
        last = llm.get_input_embeddings().num_embeddings - 1
        return LLMTokens(bos=0, eos=last, stop=(last,))


def random_bridge(recipe: Recipe, models: Models, device: torch.device) -> BridgedModel:
    """A bridge like that of `load_bridge` for a recipe, with random weights; the encoder stays on the card."""
    torch.manual_seed(0)
    llm_config, encoder_config = models
    assert encoder_config is not None
    encoder = Encoder(_random_encoder(recipe, encoder_config, device), _tokenizer(pad_id=0))
    llm = _random_llm(recipe, llm_config, device)
    width = llm.get_input_embeddings().embedding_dim
    alignment = build_alignment(recipe.alignment, encoder_size=encoder.hidden_size, llm_size=width, seed=0).to(device)
    offloads = recipe.llm.gradient_checkpointing == "offload"
    return RandomBridge(
        encoder, alignment, llm, _tokenizer(decode=lambda *_, **__: ""), name=recipe.llm.model, offloads=offloads
    )


def _tokenizer(**members: Any) -> Any:
    return SimpleNamespace(**members)


def _random_llm(recipe: Recipe, config: PreTrainedConfig, device: torch.device) -> PreTrainedModel:
    """Create and quantise one layer, and copy it for the others, so that the LLM never exists in full precision."""
    dtype: torch.dtype = getattr(torch, recipe.llm.dtype)
    config = without_dropout(copy.deepcopy(config))
    with device:
        llm = AutoModelForCausalLM.from_config(with_depth(config, 1), dtype=dtype)
    if recipe.llm.quantization == "nf4":
        quantise(llm, partial(four_bit_layer, dtype=dtype, device=device), skip=llm.get_output_embeddings())
        llm.is_loaded_in_4bit = True  # peft reads this
    layers = _layers(llm)
    for number in range(1, depth_of(config)):
        layer = copy.deepcopy(layers[0])
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
        layers.append(layer)
    llm.config = llm.get_decoder().config = config
    llm.requires_grad_(False).eval()
    keep_autograd_on_cpu(llm)
    bind_lean_layers(llm, recipe.llm, device)
    if recipe.llm.gradient_checkpointing:
        enable_gradient_checkpointing(llm)
    return llm


def _layers(llm: PreTrainedModel) -> nn.ModuleList:
    holder: Any = SimpleNamespace(causal_lm=llm)
    return decoder_layers(holder)


def _random_encoder(recipe: Recipe, config: PreTrainedConfig, device: torch.device) -> PreTrainedModel:
    dtype: torch.dtype = getattr(torch, recipe.encoder.dtype)
    loader: Any = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    with device:
        model = loader.from_config(copy.deepcopy(config), dtype=dtype)
    half: PreTrainedModel = model.get_encoder() if getattr(config, "is_encoder_decoder", False) else model
    if recipe.encoder.quantization == "nf4":
        quantise(half, partial(four_bit_layer, dtype=dtype, device=device), skip_names=UNQUANTISED)
        keep_autograd_on_cpu(half)
    return half


def four_bit_layer(linear: nn.Linear, *, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """bitsandbytes' 4-bit layer with the same weights."""
    layer = bitsandbytes.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=dtype,
        quant_type="nf4",
        device="meta",
    )
    layer.weight = bitsandbytes.nn.Params4bit(
        linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
    ).to(device)
    layer.bias = linear.bias
    return layer
