"""The inner memory of operators that torch shows as one call: bitsandbytes' 4-bit product and lilift's two kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lilift.memory.simulation.allocation_trace import Expansion
from lilift_kernels.loss import loss_operators
from lilift_kernels.loss.linear_cross_entropy import workspace_bytes
from lilift_kernels.projection import projection_operators

NESTED_BLOCK = 256


def expansions(device: str) -> dict[Any, Expansion]:
    """Operators, and functions that do the same in plain torch."""
    kernels = torch.ops.lilift_kernels
    found: dict[Any, Expansion] = {
        torch.ops.bitsandbytes.gemm_4bit.default: _four_bit_product,
        kernels.project_into.default: projection_operators.forward_in_torch,
        kernels.project_into_backward.default: projection_operators.backward_in_torch,
    }
    if device == "cpu":
        found[kernels.linear_cross_entropy.default] = loss_operators.forward_in_torch
    return found


def transients(device: str) -> dict[Any, Any]:
    """Operators, and functions that return the bytes that they hold for a moment."""
    return {} if device == "cpu" else {torch.ops.lilift_kernels.linear_cross_entropy.default: _loss_workspace}


def temporary() -> tuple[Any, ...]:
    """Operators that return weights or scales in full precision, for one product."""
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
    """Dequantise, then multiply. For few rows, bitsandbytes has fused kernels that take less memory."""
    ops = torch.ops.bitsandbytes
    if absmax_8bit is not None:
        absmax = ops.dequantize_blockwise.default(absmax_8bit, absmax, absmax_code, NESTED_BLOCK, torch.float32) + absmax_offset
    weight = ops.dequantize_4bit.default(packed, absmax, blocksize, quant_type, shape, inputs.dtype)
    return functional.linear(inputs, weight, bias)


def _loss_workspace(_hidden: Tensor, weight: Tensor, _bias: Tensor | None, labels: Tensor, *others: Any) -> int:
    vocabulary, width = weight.shape
    return workspace_bytes(labels.shape[0], vocabulary, width, device="cuda", training=bool(others[-1]))
