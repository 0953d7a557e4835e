"""Who computes the elementwise parts of an LLM's layers: torch, or the kernels of Liger (https://github.com/linkedin/Liger-Kernel).

Liger's own entry points replace names in transformers' modules for every later model. lilift calls the operators beneath them
instead, and binds them to the instances of one LLM.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lilift.recipe.errors import EnvironmentUnfit

Kernels = Literal["torch", "liger"]
Gating = Literal["silu", "gelu_tanh"]


def choose_kernels(wanted: Literal["auto", "torch", "liger"], device: torch.device) -> Kernels:
    """The kernels for a setting of `llm.kernels` on this device.

    Raises:
        EnvironmentUnfit: the recipe asks for Liger, and Liger does not work here.
    """
    lacks = None if device.type == "cuda" else "it needs a CUDA GPU"
    if importlib.util.find_spec("liger_kernel") is None:
        lacks = "liger-kernel is not installed"
    if wanted == "liger" and lacks is not None:
        raise EnvironmentUnfit(
            f"llm.kernels is liger, and Liger does not work here: {lacks}",
            remedy="set llm.kernels to torch or auto, or install `lilift[liger]` on a machine with an NVIDIA GPU",
        )
    return "torch" if wanted == "torch" or lacks is not None else "liger"


def gated(act: Callable[[Tensor], Tensor], gate: Tensor, up: Tensor, *, kernels: Kernels) -> Tensor:
    """``act(gate) * up`` outside autograd; both [N, F]."""
    kind = gating_of(act) if kernels == "liger" and gate.is_cuda else None
    if kind is None:
        return act(gate) * up
    out: Tensor = _liger_gating(kind)[0](gate.contiguous(), up.contiguous())[-1]
    return out


def gated_backward(
    act: Callable[[Tensor], Tensor], gate: Tensor, up: Tensor, gradient: Tensor, *, kernels: Kernels
) -> tuple[Tensor, Tensor]:
    """The gradients of `gate` and `up`, all [N, F]. The contents of `gate` and `up` are lost."""
    kind = gating_of(act) if kernels == "liger" and gate.is_cuda else None
    if kind is not None:
        found: tuple[Tensor, Tensor] = _liger_gating(kind)[1](gate.contiguous(), up.contiguous(), gradient.contiguous())
        return found
    with torch.enable_grad():
        leaf = gate.detach().requires_grad_()
        activated = act(leaf)
    (of_gate,) = torch.autograd.grad(activated, leaf, gradient * up)
    return of_gate, activated.detach().mul_(gradient)


def gating_of(act: Callable[[Tensor], Tensor]) -> Gating | None:
    """Which of Liger's gated activations an activation of transformers is; a few numbers show it."""
    return _gating_of(type(act)) if isinstance(act, nn.Module) else None  # type: ignore[arg-type]


@cache
def _gating_of(kind: Any) -> Gating | None:
    numbers = torch.linspace(-4, 4, 33, dtype=torch.float64)
    try:
        found = kind()(numbers)
    except (TypeError, RuntimeError):  # an activation with settings of its own
        return None
    if torch.allclose(found, functional.silu(numbers)):
        return "silu"
    return "gelu_tanh" if torch.allclose(found, functional.gelu(numbers, approximate="tanh")) else None


@cache
def _liger_gating(kind: Gating) -> tuple[Any, Any]:
    """Liger's forward pass, whose last result is the output, and its backward pass."""
    if kind == "silu":
        from liger_kernel.ops.swiglu import swiglu_backward, swiglu_forward

        return swiglu_forward, swiglu_backward
    from liger_kernel.ops.geglu import geglu_backward, geglu_forward

    return geglu_forward, geglu_backward
