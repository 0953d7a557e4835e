"""The gated MLP of a frozen LLM, ``down(act(gate(x)) * up(x))``, computed for some tokens at a time.

An MLP's inner width is three to five times that of the LLM, so that its inner tensors are the largest of a layer. With gradient
checkpointing, the backward pass here computes them again from the MLP's input, for one tile of tokens after the other. So they
never exist for all tokens at once, and the layer's recomputation ends before its MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from lilift.model.llms.lean_layers.elementwise_kernels import Kernels, gated, gated_backward
from lilift.model.llms.lean_layers.frozen_linear import Projection, projection_of

TILE = 1024  # tokens; products of fewer rows use a card badly
# Names of the layers in transformers: separate layers or one for both, and the activation.
SEPARATE, FUSED = ("gate_proj", "up_proj"), ("gate_up_proj",)
ACTIVATIONS = ("act_fn", "activation_fn")


@dataclass(frozen=True)
class GatedMLP:
    """The parts of a gated MLP. D is the LLM's width, F the inner one.

    Attributes:
        inner: the layers gate and up, each D to F, or one layer D to 2 F that gives gate, then up.
        down: the layer F to D.
        act: the activation.
        kernels: who computes the gating.
    """

    inner: tuple[Projection, ...]
    down: Projection
    act: Any
    kernels: Kernels

    @property
    def adapters(self) -> tuple[Tensor | None, ...]:
        """The matrices of all adapters, A and B of each layer in order."""
        return tuple(matrix for layer in (*self.inner, self.down) for matrix in (layer.a, layer.b))

    def with_adapters(self, matrices: tuple[Tensor | None, ...]) -> GatedMLP:
        """The same MLP with these matrices; see `Projection.with_adapter`."""
        layers = [
            layer.with_adapter(*matrices[2 * index : 2 * index + 2]) for index, layer in enumerate((*self.inner, self.down))
        ]
        return replace(self, inner=tuple(layers[:-1]), down=layers[-1])

    def weights(self, tokens: int, dtype: torch.dtype) -> list[Tensor] | None:
        """The dequantised weights of all layers, if the tokens are cut into tiles; None if every weight is used once."""
        if len(list(self.tiles(tokens))) == 1:
            return None
        return [layer.weight(dtype) for layer in (*self.inner, self.down)]

    def tiles(self, tokens: int) -> Iterator[slice]:
        """The tiles of this number of tokens.

        Tiles need all weights of the MLP at once. For 4-bit weights this takes as much memory as the inner tensors of some
        tokens, so that
        tiles save memory only for more tokens.
        """
        base: Any = self.down.base
        least = TILE + (2 * base.out_features // 5 if self.down.four_bit else 0)
        if tokens <= least:
            yield slice(0, tokens)
            return
        count = -(-tokens // TILE)
        size = -(-tokens // count)  # tiles of equal size
        for start in range(0, tokens, size):
            yield slice(start, min(start + size, tokens))

    def split(self, inputs: Tensor, weights: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        """gate and up [N, F] of inputs [N, D]."""
        found = [layer.forward(inputs, weight=_at(weights, index)) for index, layer in enumerate(self.inner)]
        return (found[0], found[1]) if len(found) == 2 else found[0].chunk(2, dim=-1)  # type: ignore[return-value]

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, D] to [N, D], outside autograd."""
        weights = self.weights(inputs.shape[0], inputs.dtype)
        out = torch.empty_like(inputs) if weights is not None else None
        for tile in self.tiles(inputs.shape[0]):
            gate, up = self.split(inputs[tile], weights)
            inner = gated(self.act, gate, up, kernels=self.kernels)
            del gate, up
            part = self.down.forward(inner, weight=_at(weights, -1))
            if out is None:
                return part
            out[tile] = part
        assert out is not None
        return out

    def backward(self, gradient: Tensor, inputs: Tensor, *, of_inputs: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """The gradients of the inputs [N, D] (if they are wanted) and of the adapters' matrices."""
        weights = self.weights(inputs.shape[0], inputs.dtype)
        found = torch.empty_like(inputs) if of_inputs else None
        of_matrices: list[Tensor | None] = [None] * len(self.adapters)
        for tile in self.tiles(inputs.shape[0]):
            part, matrices = self._tile_backward(gradient[tile], inputs[tile], weights, of_inputs=of_inputs)
            of_matrices = [
                new if old is None or new is None else old.add_(new) for old, new in zip(of_matrices, matrices, strict=True)
            ]
            if found is None or part is None:
                continue
            if weights is None:
                return part, of_matrices
            found[tile] = part
        return found, of_matrices

    def _tile_backward(
        self, gradient: Tensor, inputs: Tensor, weights: list[Tensor] | None, *, of_inputs: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        gate, up = self.split(inputs, weights)
        inner = gated(self.act, gate, up, kernels=self.kernels) if self.down.a is not None else None
        of_inner, *of_down = self.down.backward(gradient, inner, weight=_at(weights, -1))
        del inner
        assert of_inner is not None
        parts = gated_backward(self.act, gate, up, of_inner, kernels=self.kernels)
        del gate, up, of_inner
        if len(self.inner) == 1:
            parts = (torch.cat(parts, dim=-1),)  # type: ignore[assignment]
        total: Tensor | None = None
        matrices: list[Tensor | None] = []
        for index, (layer, part) in enumerate(zip(self.inner, parts, strict=True)):
            if not of_inputs:
                matrices += [None, None] if layer.a is None else layer.adapter_gradients(part, inputs)[:2]
                continue
            read, of_a, of_b = layer.backward(part, inputs, weight=_at(weights, index))
            assert read is not None
            total = read if total is None else total.add_(read)
            matrices += [of_a, of_b]
        return total, [*matrices, *of_down]


class _Backward(torch.autograd.Function):
    """Returns the inputs of an MLP, and takes the gradient of its output.

    An MLP has two functions of autograd, because its output has the shape of its inputs. The first one keeps the inputs and has
    the backward pass. The second one has the forward pass. The recomputation of a layer ends once everything is kept again, and
    so before the forward pass of its MLP.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, mlp: GatedMLP, *matrices: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, *matrices)
        ctx.mlp = mlp.with_adapters((None,) * len(matrices))
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *matrices = ctx.saved_tensors
        mlp: GatedMLP = ctx.mlp.with_adapters(tuple(matrices))
        of_inputs, of_matrices = mlp.backward(gradients[0], inputs, of_inputs=ctx.needs_input_grad[0])
        return of_inputs, None, *of_matrices


class _Forward(torch.autograd.Function):
    """The output of an MLP; its gradient is passed on as it is."""

    @staticmethod
    def forward(_ctx: Any, inputs: Tensor, mlp: GatedMLP) -> Tensor:
        return mlp.forward(inputs)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


class _Gating(torch.autograd.Function):
    """``act(gate) * up``, which keeps gate and up alone."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, act: Any, kernels: Kernels) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act, ctx.kernels = act, kernels
        return gated(act, gate, up, kernels=kernels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        if ctx.kernels == "liger":  # whose backward pass writes over its arguments
            gate, up = gate.clone(), up.clone()
        of_gate, of_up = gated_backward(ctx.act, gate, up, gradients[0], kernels=ctx.kernels)
        return of_gate, of_up, None, None


def bind_mlps(model: nn.Module, kernels: Kernels, *, recomputes: bool) -> int:
    """Let every gated MLP of a model compute in this way while it trains. Returns their number.

    Args:
        model: changed in place.
        kernels: who computes the gating.
        recomputes: compute the inner tensors again in the backward pass; otherwise keep them, which is faster.
    """
    found = [module for module in model.modules() if _layers_of(module) is not None]
    for module in found:
        own: Any = module
        own.forward = MethodType(_mlp_forward, module)
        own.lean_kernels, own.lean_recomputes = kernels, recomputes
    return len(found)


def mlp_of(module: nn.Module) -> GatedMLP | None:
    """The parts of an MLP as it is now, or None if it computes something else."""
    names = _layers_of(module)
    if names is None:
        return None
    layers = [projection_of(getattr(module, name)) for name in (*names, "down_proj")]
    if any(layer is None or layer.dropout > 0 for layer in layers):
        return None
    *inner, down = [layer for layer in layers if layer is not None]
    own: Any = module
    return GatedMLP(tuple(inner), down, _activation_of(module), own.lean_kernels)


def _mlp_forward(module: Any, inputs: Tensor) -> Tensor:
    mlp = mlp_of(module) if torch.is_grad_enabled() and not torch.is_autocast_enabled(inputs.device.type) else None
    if mlp is None:
        plain: Tensor = type(module).forward(module, inputs)
        return plain
    if module.lean_recomputes:
        rows = inputs.reshape(-1, inputs.shape[-1])  # [N, D]
        kept: Tensor = _Backward.apply(rows, mlp, *mlp.adapters)  # type: ignore[no-untyped-call]
        computed: Tensor = _Forward.apply(kept, mlp)  # type: ignore[no-untyped-call]
        return computed.view(inputs.shape)
    names = _layers_of(module)
    assert names is not None
    found = [getattr(module, name)(inputs) for name in names]
    gate, up = found if len(found) == 2 else found[0].chunk(2, dim=-1)
    inner: Tensor = _Gating.apply(gate, up, mlp.act, mlp.kernels)  # type: ignore[no-untyped-call]
    out: Tensor = module.down_proj(inner)
    return out


def _layers_of(module: nn.Module) -> tuple[str, ...] | None:
    """The names of the layers before the activation, for a module that computes a gated MLP from its parts and nothing else."""
    children = dict(module.named_children())
    forward = type(module).forward
    for names in (SEPARATE, FUSED):
        wanted = {*names, "down_proj"}
        if wanted <= children.keys() and isinstance(forward, FunctionType):
            # Some families do more with these parts (factors, sparsity), and their code then uses more names.
            return names if set(forward.__code__.co_names) - wanted - {"chunk"} in ({name} for name in ACTIVATIONS) else None
    return None


def _activation_of(module: nn.Module) -> Any:
    return next((getattr(module, name) for name in ACTIVATIONS if hasattr(module, name)), None)


def _at(weights: list[Tensor] | None, index: int) -> Tensor | None:
    return None if weights is None else weights[index]
