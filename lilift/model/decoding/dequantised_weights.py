"""Keeps an LLM's 4-bit weights dequantised while it answers, so that it does not dequantise every weight at every token.

bitsandbytes' 4-bit layer dequantises its weight at every call and multiplies. `dequantise` does the first half once. The 4-bit
weights stay, so that `quantise_again` restores the LLM at once when memory runs out. The results are those of bitsandbytes to
the bit where it dequantises and multiplies: on a CPU, and on a GPU for batches that its fused kernels do not take. Its fused
kernels round differently in 16 bits.

In float32, the product of a LoRA adapter's two matrices also goes into the dequantised weight. There this changes a result by
as little as another batch does. In 16 bits it would round the adapter away, so there the adapter stays beside the weight.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import bitsandbytes
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional

from lilift.model.decoding.step_graphs import forget_step_graphs


def dequantise(llm: nn.Module) -> None:
    """Let the 4-bit layers of an LLM compute with dequantised weights. Do this after the adapter has its weights.

    Raises:
        MemoryError, torch.OutOfMemoryError, RuntimeError: memory runs out; then the LLM is as it was before.
    """
    quantise_again(llm)
    try:
        for layer, adapted in _layers(llm):
            weight = _dequantised(layer)
            forward = _product_with(weight, layer.bias)
            adapter = None if adapted is None else _adapter_of(adapted)
            if adapter is None:
                _replace(layer, forward)
            elif weight.dtype == torch.float32:
                _replace(adapted, _product_with(weight + adapter.second @ adapter.first, layer.bias))
            else:
                _replace(layer, forward)
                _replace(adapted, _adapted(forward, adapter))
    except BaseException:
        quantise_again(llm)
        raise


def quantise_again(llm: nn.Module) -> bool:
    """Undo `dequantise`; return whether there was something to undo."""
    undone = False
    for pair in _layers(llm):
        for module in pair:
            if module is not None and module.__dict__.pop("forward", None) is not None:
                undone = True
    forget_step_graphs(llm)
    return undone


def is_dequantised(llm: nn.Module) -> bool:
    """Whether `dequantise` has changed the LLM."""
    return any("forward" in vars(module) for pair in _layers(llm) for module in pair if module is not None)


def dequantised_bytes(llm: nn.Module) -> int:
    """How much memory `dequantise` takes: 2 bytes a weight in 16 bits, 4 in float32. 0 for an LLM without 4-bit layers."""
    return sum(layer.in_features * layer.out_features * _precision(layer).itemsize for layer, _ in _layers(llm))


def _layers(llm: nn.Module) -> Iterator[tuple[bitsandbytes.nn.Linear4bit, LoraLayer | None]]:
    """The 4-bit layers, each with the LoRA layer around it."""
    around = {id(module.base_layer): module for module in llm.modules() if isinstance(module, LoraLayer)}
    for module in llm.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            yield module, around.get(id(module))


def _precision(layer: bitsandbytes.nn.Linear4bit) -> torch.dtype:
    """The precision that the layer computes in."""
    dtype: torch.dtype = layer.compute_dtype or layer.weight.quant_state.dtype
    return dtype


def _dequantised(layer: bitsandbytes.nn.Linear4bit) -> Tensor:
    """The weight [out, in] as the layer itself dequantises it."""
    state = copy.copy(layer.weight.quant_state)
    state.dtype = _precision(layer)
    weight: Tensor = bitsandbytes.functional.dequantize_4bit(layer.weight.data.view(-1, 1), state)
    return weight


@dataclass(frozen=True)
class _Adapter:
    """A LoRA adapter of one layer: `first` [R, in] and `second` [out, R], which includes the factor alpha / R."""

    first: Tensor
    second: Tensor


def _adapter_of(adapted: LoraLayer) -> _Adapter | None:
    """The one active float32 adapter of a layer; None if its adapter is of another kind, or there are several."""
    active = [name for name in adapted.active_adapters if name in adapted.lora_A]
    if len(active) != 1 or adapted.disable_adapters or adapted.lora_variant or adapted.merged_adapters:
        return None
    first, second = adapted.lora_A[active[0]], adapted.lora_B[active[0]]
    if first.weight.dtype != torch.float32 or second.weight.dtype != torch.float32 or second.bias is not None:
        return None
    return _Adapter(first.weight.detach(), second.weight.detach() * adapted.scaling[active[0]])


def _replace(module: nn.Module | None, forward: Callable[..., Tensor]) -> None:
    """Let a module compute with `forward`. The attribute of the object hides the method of its class."""
    cast("Any", module).forward = forward


def _product_with(weight: Tensor, bias: Tensor | None) -> Callable[..., Tensor]:
    """The forward pass of a layer with a dequantised weight [out, in]."""
    bias = None if bias is None else bias.to(weight.dtype)

    def forward(x: Tensor, *_: object, **__: object) -> Tensor:
        return functional.linear(x.to(weight.dtype), weight, bias).to(x.dtype)

    return forward


def _adapted(product: Callable[..., Tensor], adapter: _Adapter) -> Callable[..., Tensor]:
    """The forward pass of a layer with an adapter beside its weight, in the adapter's precision as in training."""

    def forward(x: Tensor, *_: object, **__: object) -> Tensor:
        found = product(x)
        inner = functional.linear(x.to(adapter.first.dtype), adapter.first)
        return found + functional.linear(inner, adapter.second).to(found.dtype)

    return forward
