"""Linear layers of a frozen LLM, with or without a LoRA adapter, whose backward pass keeps nothing but their input.

peft casts the input of every adapted layer to float32, and keeps that copy for the backward pass. Here layers that read the
same tensor keep it once, in its own precision. The product with A is computed again, and a 4-bit weight is dequantised once in
the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lilift.model.training_libraries import bitsandbytes, peft


@dataclass(frozen=True)
class Projection:
    """A frozen linear layer and its adapter: ``W x + c + scaling * B A x``.

    Attributes:
        base: holds W [O, I], in 4 bits or plain, and the bias c.
        a, b: A [R, I] and B [O, R], trained; both None without an adapter.
        scaling: the factor of the adapter's output.
        dropout: share of the adapter's inputs that are set to zero in training.
    """

    base: nn.Module
    a: Tensor | None = None
    b: Tensor | None = None
    scaling: float = 1.0
    dropout: float = 0.0

    @property
    def four_bit(self) -> bool:
        """Whether the weight must be dequantised for a product."""
        return isinstance(self.base, bitsandbytes.nn.Linear4bit)

    def weight(self, dtype: torch.dtype) -> Tensor:
        """W [O, I] in this precision."""
        base: Any = self.base
        weight: Tensor = base.weight
        if self.four_bit:
            weight = bitsandbytes.functional.dequantize_4bit(weight, base.weight.quant_state)
        return weight.to(dtype)

    def with_adapter(self, a: Tensor | None, b: Tensor | None) -> Projection:
        """The same layer with these matrices. Autograd hands them to a function's forward pass as its own arguments."""
        return Projection(self.base, a, b, self.scaling, self.dropout)

    def forward(self, inputs: Tensor, *, weight: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """[..., I] to [..., O], outside autograd.

        Args:
            inputs: [..., I].
            weight: the dequantised W, if the caller has it.
            noise: [..., I], the factors of dropout.
        """
        base: Any = self.base
        if weight is None:
            out: Tensor = base(inputs)
        else:
            out = functional.linear(inputs, weight, None if base.bias is None else base.bias.to(weight.dtype))
        if self.a is None or self.b is None:
            return out
        read = _rows(inputs if noise is None else inputs * noise)  # [N, I]
        low = read @ self.a.to(read.dtype).t()  # [N, R]
        out.view(-1, out.shape[-1]).addmm_(low, self.b.to(read.dtype).t(), alpha=self.scaling)
        return out

    def backward(
        self, gradient: Tensor, inputs: Tensor | None, *, weight: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of the input and of both matrices of the adapter.

        Args:
            gradient: [N, O] of the output.
            inputs: [N, I]; only an adapter needs them.
            weight: the dequantised W, if the caller has it.
            noise: [N, I], the factors of dropout.

        Returns:
            [N, I]; then [R, I] and [O, R] in the precision of the matrices, or None without an adapter.
        """
        read = gradient @ (self.weight(gradient.dtype) if weight is None else weight)  # [N, I]
        if self.a is None or self.b is None:
            return read, None, None
        of_a, of_b, low = self.adapter_gradients(gradient, inputs, noise=noise)
        a = self.a.to(gradient.dtype)
        if noise is None:
            read.addmm_(low, a)
        else:
            read.addcmul_(low @ a, noise)
        return read, of_a, of_b

    def adapter_gradients(
        self, gradient: Tensor, inputs: Tensor | None, *, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of A and B, and of A's output [N, R]; see `backward`."""
        assert self.a is not None
        assert self.b is not None
        assert inputs is not None
        low = (gradient @ self.b.to(gradient.dtype)).mul_(self.scaling)  # [N, R]
        seen = inputs if noise is None else inputs * noise  # [N, I]
        of_a = _sum_of_products(low, seen, self.a.dtype)  # [R, I]
        middle = (seen @ self.a.to(seen.dtype).t()).mul_(self.scaling)  # [N, R]
        return of_a, _sum_of_products(gradient, middle, self.b.dtype), low


class _AdaptedLinear(torch.autograd.Function):
    """`Projection` as one function of autograd, which keeps the input and computes the rest again."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, a: Tensor, b: Tensor, projection: Projection, noise: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, a, b, noise)
        ctx.projection = projection.with_adapter(None, None)
        return projection.with_adapter(a, b).forward(inputs, noise=noise)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, a, b, noise = ctx.saved_tensors
        projection: Projection = ctx.projection.with_adapter(a, b)
        gradient, read = _rows(gradients[0]), _rows(inputs)
        flat_noise = None if noise is None else _rows(noise)
        if not ctx.needs_input_grad[0]:
            of_a, of_b, _ = projection.adapter_gradients(gradient, read, noise=flat_noise)
            return None, of_a, of_b, None, None
        of_inputs, of_a, of_b = projection.backward(gradient, read, noise=flat_noise)  # type: ignore[assignment]
        assert of_inputs is not None
        return of_inputs.view(inputs.shape), of_a, of_b, None, None


def projection_of(layer: nn.Module) -> Projection | None:
    """A layer's weight and adapter, or None if it computes something else (another kind of layer or of adapter).

    An adapter counts only if it takes part in the layer's result at this moment.
    """
    if not isinstance(layer, peft.tuners.lora.LoraLayer):
        return Projection(layer) if _is_frozen_linear(layer) else None
    adapted: Any = layer
    base = adapted.get_base_layer()
    if not _is_frozen_linear(base) or adapted.merged or getattr(adapted, "fan_in_fan_out", False):
        return None
    active = [name for name in adapted.active_adapters if name in adapted.lora_A]
    if adapted.disable_adapters or not active:
        return Projection(base)
    if len(active) > 1 or adapted.lora_variant.get(active[0]) or adapted.lora_bias.get(active[0], False):
        return None
    name = active[0]
    dropout = adapted.lora_dropout[name]
    share = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    return Projection(base, adapted.lora_A[name].weight, adapted.lora_B[name].weight, float(adapted.scaling[name]), share)


def bind_adapted_layers(model: nn.Module) -> int:
    """Let every LoRA layer of a model compute as described above. Returns their number."""
    found = [
        layer for layer in model.modules() if isinstance(layer, peft.tuners.lora.LoraLayer) and projection_of(layer) is not None
    ]
    for layer in found:
        layer.forward = MethodType(_adapted_forward, layer)
    return len(found)


def _adapted_forward(layer: Any, inputs: Tensor, *others: Any, **named: Any) -> Tensor:
    projection = None if others or named or torch.is_autocast_enabled(inputs.device.type) else projection_of(layer)
    if projection is None or projection.a is None or projection.b is None:
        plain: Tensor = type(layer).forward(layer, inputs, *others, **named)
        return plain
    noise = None
    if projection.dropout > 0:
        noise = functional.dropout(torch.ones_like(inputs), projection.dropout)
    apply: Any = _AdaptedLinear.apply
    out: Tensor = apply(inputs, projection.a, projection.b, projection, noise)
    return out


def _is_frozen_linear(layer: nn.Module) -> bool:
    plain = type(layer) is nn.Linear or isinstance(layer, bitsandbytes.nn.Linear4bit)
    return plain and not any(parameter.requires_grad for parameter in layer.parameters())


def _rows(tensor: Tensor) -> Tensor:
    """[..., X] as [N, X]."""
    return tensor.reshape(-1, tensor.shape[-1])


def _sum_of_products(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """``left.T @ right`` of [N, X] and [N, Y], as [X, Y] in this precision."""
    if dtype == torch.float32 and left.is_cuda and left.dtype != dtype:
        return torch.mm(left.t(), right, out_dtype=dtype)  # the card sums in float32 anyway, and need not round the result
    return (left.t() @ right).to(dtype)
