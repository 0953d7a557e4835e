"""Root-mean-square norms (arXiv 1910.07467) of a frozen LLM, which keep their input and one number a token.

The norms of transformers keep two or three float32 copies of their input. Families differ in one thing: whether the weight is
multiplied after rounding to the LLM's precision (Llama), or before it and with 1 added (Gemma). A trial of each class shows it.
"""

from __future__ import annotations

import inspect
from functools import cache
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional

from lilift.model.llms.lean_layers.elementwise_kernels import Kernels

Convention = Literal["llama", "gemma"]
CHUNK = 2**22  # elements that torch's version widens to float32 at a time


class _RMSNorm(torch.autograd.Function):
    """[..., D] to [..., D]; the weight [D] gets no gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, eps: float, convention: Convention) -> Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1])  # [N, D]
        out = torch.empty_like(rows)
        inverse = rows.new_empty(rows.shape[0], 1, dtype=_wide(rows))  # one over the root mean square
        for part in _chunks(rows):
            wide = rows[part].to(inverse.dtype)
            inverse[part] = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
            out[part] = _weighted(wide * inverse[part], weight, rows.dtype, convention)
        ctx.save_for_backward(inputs, weight, inverse)
        ctx.convention = convention
        return out.view(inputs.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, inverse = ctx.saved_tensors
        gradient, rows = (tensor.reshape(-1, inputs.shape[-1]) for tensor in (gradients[0], inputs))
        found = torch.empty_like(rows)
        for part in _chunks(rows):
            if ctx.convention == "llama":
                scaled = (gradient[part] * weight).to(inverse.dtype)
            else:
                scaled = gradient[part].to(inverse.dtype) * (1.0 + weight.to(inverse.dtype))
            normal = rows[part].to(inverse.dtype) * inverse[part]
            shared = (scaled * normal).mean(-1, keepdim=True)
            found[part] = scaled.sub_(normal.mul_(shared)).mul_(inverse[part])
        return found.view(inputs.shape), None, None, None


def bind_norms(model: nn.Module, kernels: Kernels) -> int:
    """Let every norm of a model whose convention is known compute as described above, while it trains. Returns their number."""
    found = [module for module in model.modules() if convention_of(type(module)) is not None]  # type: ignore[arg-type]
    for norm in found:
        own: Any = norm
        own.forward, own.lean_kernels = MethodType(_norm_forward, norm), kernels
    return len(found)


@cache
def convention_of(kind: Any) -> Convention | None:
    """How a class of norms rounds and applies its weight; None for a class that is no such norm."""
    if "RMSNorm" not in kind.__name__ or not kind.__module__.startswith("transformers.") or _arguments(kind) is None:
        return None
    with unset_fake_temporarily(), torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        inputs = (4 * torch.randn(64, 16, generator=generator)).bfloat16()
        weight = (1 + torch.randn(16, generator=generator)).bfloat16()
        try:
            norm: Any = kind(16, eps=1e-6)
            norm.weight.data = weight
            found = norm(inputs)
        except (AttributeError, RuntimeError, TypeError):
            return None
        conventions: tuple[Convention, ...] = ("llama", "gemma")
        apply: Any = _RMSNorm.apply
        return next((one for one in conventions if torch.equal(found, apply(inputs, weight, 1e-6, one))), None)


def _norm_forward(norm: Any, inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled() or norm.weight.requires_grad or norm.weight.dtype != inputs.dtype:
        plain: Tensor = type(norm).forward(norm, inputs)
        return plain
    convention = convention_of(type(norm))  # type: ignore[arg-type]
    eps = norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps
    if norm.lean_kernels == "liger" and inputs.is_cuda:
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction

        # Not in place: the gradient of a norm after a layer (Gemma) is also that of the residual.
        out: Tensor = LigerRMSNormFunction.apply(inputs, norm.weight, eps, float(convention == "gemma"), convention, False)
        return out
    if inputs.is_cuda and convention == "llama":  # torch's own kernel, which rounds once less
        return functional.rms_norm(inputs, (inputs.shape[-1],), norm.weight, eps)
    lean: Tensor = _RMSNorm.apply(inputs, norm.weight, eps, convention)  # type: ignore[no-untyped-call]
    return lean


def _weighted(normal: Tensor, weight: Tensor, dtype: torch.dtype, convention: Convention | str) -> Tensor:
    if convention == "llama":
        return weight * normal.to(dtype)
    return (normal * (1.0 + weight.to(normal.dtype))).to(dtype)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _chunks(rows: Tensor) -> list[slice]:
    size = max(1, CHUNK // rows.shape[-1])
    return [slice(start, start + size) for start in range(0, rows.shape[0], size)]


def _arguments(kind: type[nn.Module]) -> list[str] | None:
    """The arguments of the class's constructor, if they are a width and eps."""
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    return names if len(names) == 2 and names[1] == "eps" else None
