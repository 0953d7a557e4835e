"""What operators hold inside that torch shows as one call: bitsandbytes' 4-bit product and lilift's two kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import lilift_kernels.alignment_projection  # noqa: F401 (registers its operators)
from lilift.memory.trace import Expansion
from lilift_kernels import alignment_projection_torch as projection
from lilift_kernels import linear_cross_entropy_torch as cross_entropy
from lilift_kernels.linear_cross_entropy import workspace_bytes
from lilift_kernels.loss_options import LossOptions

NESTED_BLOCK = 256


def expansions(device: str) -> dict[Any, Expansion]:
    """Operators and what they do, in plain torch."""
    kernels = torch.ops.lilift_kernels
    found: dict[Any, Expansion] = {
        torch.ops.bitsandbytes.gemm_4bit.default: _four_bit_product,
        kernels.project_into.default: _project_into,
        kernels.project_into_backward.default: _project_into_backward,
    }
    if device == "cpu":
        found[kernels.linear_cross_entropy.default] = _linear_cross_entropy
    return found


def transients(device: str) -> dict[Any, Any]:
    """Operators and the bytes that they hold for a moment."""
    return {} if device == "cpu" else {torch.ops.lilift_kernels.linear_cross_entropy.default: _loss_workspace}


def temporary() -> tuple[Any, ...]:
    """Operators that give weights or scales in full precision, for one product."""
    return torch.ops.bitsandbytes.dequantize_4bit.default, torch.ops.bitsandbytes.dequantize_blockwise.default


def _four_bit_product(
    inputs: Tensor,
    packed: Tensor,
    shape: list[int],
    absmax: Tensor,
    blocksize: int,
    quant_type: str,
    bias: Tensor | None = None,
    absmax_8bit: Tensor | None = None,
    absmax_code: Tensor | None = None,
    absmax_offset: Tensor | None = None,
) -> Tensor:
    """Dequantise, then multiply. bitsandbytes has fused kernels for few rows, which take less."""
    ops = torch.ops.bitsandbytes
    if absmax_8bit is not None:
        absmax = ops.dequantize_blockwise.default(absmax_8bit, absmax, absmax_code, NESTED_BLOCK, torch.float32) + absmax_offset
    weight = ops.dequantize_4bit.default(packed, absmax, blocksize, quant_type, shape, inputs.dtype)
    return functional.linear(inputs, weight, bias)


def _project_into(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    out: Tensor,
    saves: bool,
) -> Tensor:
    b1, w2, b2 = (None if tensor is None else tensor.to(states.dtype) for tensor in (b1, w2, b2))
    return projection.project(states, rows, slots, w1.to(states.dtype), b1, w2, b2, out, saves=saves)


def _project_into_backward(
    upstream: Tensor,
    slots: Tensor,
    states: Tensor,
    rows: Tensor | None,
    w1: Tensor,
    w2: Tensor | None,
    pre_activation: Tensor,
    *wanted: bool,
) -> tuple[Tensor, ...]:
    first, second = w1.to(states.dtype), None if w2 is None else w2.to(states.dtype)
    chosen = upstream.index_select(0, slots).to(states.dtype)
    wants: Any = wanted
    found = projection.project_backward(chosen, states, rows, first, second, pre_activation, wants, w1.dtype)
    states_gradient = states.new_empty(0) if found.states is None else found.states
    return (states_gradient, *(w1.new_empty(0) if item is None else item for item in (found.w1, found.b1, found.w2, found.b2)))


def _linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    scale: Tensor,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    *terms, with_gradient = others
    options = LossOptions(*terms)
    return cross_entropy.losses_and_gradient(hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient)


def _loss_workspace(_hidden: Tensor, weight: Tensor, _bias: Tensor | None, labels: Tensor, *others: Any) -> int:
    vocabulary, width = weight.shape
    return workspace_bytes(labels.shape[0], vocabulary, width, device="cuda", training=bool(others[-1]))
