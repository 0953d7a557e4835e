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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from lilift.model.decoding.step_graphs import forget_step_graphs
from lilift.model.llms.lean_layers.frozen_linear import Projection, projection_of
from lilift.model.training_libraries import bitsandbytes, peft


def dequantise(llm: nn.Module) -> None:
    """Let the 4-bit layers of an LLM compute with dequantised weights. Do this after the adapter has its weights.

    Raises:
        MemoryError, torch.OutOfMemoryError, RuntimeError: memory runs out; then the LLM is as it was before.
    """
    quantise_again(llm)
    try:
        for layer, adapted in _layers(llm):
            weight = _dequantised(layer)
            projection = projection_of(layer if adapted is None else adapted) or Projection(layer)
            replaced = cast("Any", layer if adapted is None or projection.a is None else adapted)
            if projection.a is not None and projection.b is not None:
                first, second = projection.a.detach(), projection.b.detach()
                if weight.dtype == torch.float32:
                    weight, projection = weight + (second * projection.scaling) @ first, Projection(layer)
                else:
                    projection = projection.with_adapter(first.to(weight.dtype), second.to(weight.dtype))
            # The attribute of the object hides the method of its class. The tree of modules stays as it is.
            replaced.forward = _Product(weight, projection, vars(replaced).get("forward"))
    except BaseException:
        quantise_again(llm)
        raise


def quantise_again(llm: nn.Module) -> bool:
    """Undo `dequantise`; return whether there was something to undo."""
    undone = False
    for pair in _layers(llm):
        for module in pair:
            product = None if module is None else vars(module).get("forward")
            if module is None or not isinstance(product, _Product):
                continue
            del module.forward
            if product.hidden is not None:
                cast("Any", module).forward = product.hidden
            undone = True
    forget_step_graphs(llm)
    return undone


def dequantised(llm: nn.Module) -> list[Tensor]:
    """The dequantised weights that `dequantise` has made; empty without them."""
    replaced = (vars(module).get("forward") for pair in _layers(llm) for module in pair if module is not None)
    return [product.weight for product in replaced if isinstance(product, _Product)]


def dequantised_bytes(llm: nn.Module) -> int:
    """How much memory `dequantise` takes: 2 bytes a weight in 16 bits, 4 in float32. 0 for an LLM without 4-bit layers."""
    return sum(layer.in_features * layer.out_features * _precision(layer).itemsize for layer, _ in _layers(llm))


def _layers(llm: nn.Module) -> Iterator[tuple[bitsandbytes.nn.Linear4bit, peft.tuners.lora.LoraLayer | None]]:
    """The 4-bit layers, each with the LoRA layer around it."""
    around = {id(module.base_layer): module for module in llm.modules() if isinstance(module, peft.tuners.lora.LoraLayer)}
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
class _Product:
    """The forward pass of a layer with a dequantised weight [out, in].

    ``hidden`` is what the object's ``forward`` was before, if it was not that of its class.
    """

    weight: Tensor
    projection: Projection
    hidden: Any

    def __call__(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return self.projection.forward(x.to(self.weight.dtype), weight=self.weight).to(x.dtype)
