"""The alignment projection in Triton: three matrix products that read and write rows where they lie.

Forward runs ``linear`` twice: it gathers encoder states, applies GELU in the epilogue, and writes into the embedding buffer's
slots. Backward runs ``hidden_gradient``, whose epilogue recomputes GELU and multiplies by its derivative, and ``outer`` once
per weight. No sum crosses programs, so results repeat bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional

from lilift_kernels import autotuning
from lilift_kernels.kernel_arguments import product_block
from lilift_kernels.projection.projection_arguments import (
    LinearStrides,
    LinearSwitches,
    OuterSizes,
    OuterStrides,
    OuterSwitches,
    ProductSizes,
)
from lilift_kernels.projection.projection_torch import ProjectionGradients
from lilift_kernels.projection.projection_triton_kernels import hidden_gradient, linear, outer
from lilift_kernels.tiles import CANDIDATES, FEW_ROWS, Blocks, card, product_blocks

GROUP = 8  # blocks of rows that share a block of columns while it is in the L2 cache


def project(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    out: Tensor,
    *,
    saves: bool,
    blocks: Blocks | None = None,
) -> Tensor:
    """The same as in the torch path; ``blocks`` replaces the table's choice."""
    count = slots.shape[0]
    if blocks is None and count > 0 and autotuning.enabled():

        def again(candidate: Blocks) -> None:
            project(states, rows, slots, w1, b1, w2, b2, out, saves=saves, blocks=candidate)

        blocks = _fastest("projection", states, count, (*w1.shape, out.shape[1]), again)
    if w2 is None:
        _linear(states, rows, w1, b1, out, slots, None, count, gelu=False, blocks=blocks)
        return states.new_empty(0)
    activation = states.new_empty(count, w1.shape[0])
    kept = torch.empty_like(activation) if saves else states.new_empty(0)
    _linear(states, rows, w1, b1, activation, None, kept if saves else None, count, gelu=True, blocks=blocks)
    _linear(activation, None, w2, b2, out, slots, None, count, gelu=False, blocks=blocks)
    return kept


def project_backward(
    upstream: Tensor,
    slots: Tensor,
    states: Tensor,
    rows: Tensor | None,
    w1: Tensor,
    w2: Tensor | None,
    pre_activation: Tensor,
    wanted: tuple[bool, bool, bool, bool, bool],
    gradient_type: torch.dtype,
    *,
    blocks: Blocks | None = None,
) -> ProjectionGradients:
    """The same as in the torch path, but ``upstream`` [R, D] is the whole buffer's gradient, read at ``slots``."""
    wants_states, wants_w1, wants_b1, wants_w2, wants_b2 = wanted
    upstream, states = _rows_contiguous(upstream), _rows_contiguous(states)
    count = slots.shape[0]
    if blocks is None and count > 0 and autotuning.enabled():

        def again(candidate: Blocks) -> None:
            project_backward(upstream, slots, states, rows, w1, w2, pre_activation, wanted, gradient_type, blocks=candidate)

        blocks = _fastest("projection, backward", states, count, (*w1.shape, upstream.shape[1]), again)
    w2_gradient = b2_gradient = b1_gradient = None
    # The gradient of the first layer's output, and the numbers of its rows.
    gradient: Tensor = upstream
    gradient_rows: Tensor | None = slots
    if w2 is not None:
        gradient, gradient_rows = states.new_empty(count, w1.shape[0]), None
        _hidden_gradient(upstream, slots, w2.contiguous(), pre_activation, gradient, blocks)
        if wants_w2:
            activation = functional.gelu(pre_activation)
            w2_gradient = _outer(upstream, slots, activation, None, count, gradient_type, blocks)
        if wants_b2:
            b2_gradient = upstream.index_select(0, slots).sum(0, dtype=torch.float32).to(gradient_type)
    w1_gradient = _outer(gradient, gradient_rows, states, rows, count, gradient_type, blocks) if wants_w1 else None
    if wants_b1:
        summands = gradient if gradient_rows is None else gradient.index_select(0, gradient_rows)
        b1_gradient = summands.sum(0, dtype=torch.float32).to(gradient_type)
    states_gradient = None
    if wants_states:
        summands = gradient if gradient_rows is None else gradient.index_select(0, gradient_rows)
        states_gradient = summands.to(w1.dtype) @ w1
        if rows is not None:
            states_gradient = torch.zeros_like(states).index_add_(0, rows, states_gradient)
    return ProjectionGradients(states_gradient, w1_gradient, b1_gradient, w2_gradient, b2_gradient)


def deepened(blocks: Blocks, *, flat: bool = False) -> Blocks:
    """``blocks`` for ``outer``, with one more stage, because its loads wait for the loads of the row numbers.

    ``flat`` halves the depth of a step. It is needed if both factors' rows are given by number and one factor is fp32 beside
    16 bits: a step of full depth would spill.
    """
    return replace(blocks, stages=blocks.stages + 1, depth=blocks.depth // 2 if flat else blocks.depth)


def _linear(
    inputs: Tensor,
    rows: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor,
    slots: Tensor | None,
    kept: Tensor | None,
    count: int,
    *,
    gelu: bool,
    blocks: Blocks | None,
) -> None:
    if count == 0:
        return
    inputs, weight = _rows_contiguous(inputs), weight.contiguous()
    blocks = blocks or _blocks(inputs, count, inputs.stride(0), weight.stride(0), weight.shape[0])
    grid = (triton.cdiv(count, blocks.rows) * triton.cdiv(weight.shape[0], blocks.columns),)
    linear[grid](
        inputs, rows, weight, bias, out, slots, kept, count, LinearStrides(inputs.stride(0), out.stride(0)),
        SIZES=ProductSizes(width=weight.shape[1], columns=weight.shape[0]),
        SWITCHES=LinearSwitches(rows is not None, slots is not None, bias is not None, gelu, kept is not None),
        **_configuration(inputs, blocks),
    )  # fmt: skip


def _hidden_gradient(
    upstream: Tensor, slots: Tensor, weight: Tensor, kept: Tensor, result: Tensor, blocks: Blocks | None
) -> None:
    count, columns = result.shape
    if count == 0:
        return
    blocks = blocks or _blocks(result, count, upstream.stride(0), columns)
    grid = (triton.cdiv(count, blocks.rows) * triton.cdiv(columns, blocks.columns),)
    hidden_gradient[grid](
        upstream, slots, weight, kept, result, count, upstream.stride(0),
        SIZES=ProductSizes(width=weight.shape[0], columns=columns), **_configuration(result, blocks),
    )  # fmt: skip


def _outer(
    left: Tensor,
    left_rows: Tensor | None,
    right: Tensor,
    right_rows: Tensor | None,
    count: int,
    gradient_type: torch.dtype,
    blocks: Blocks | None,
) -> Tensor:
    rows, columns = left.shape[1], right.shape[1]
    out = right.new_empty(rows, columns, dtype=gradient_type)
    blocks = deepened(
        blocks or _blocks(right, rows, left.stride(0), right.stride(0)),
        flat=left_rows is not None and right_rows is not None and left.element_size() > right.element_size(),
    )
    grid = (triton.cdiv(rows, blocks.rows) * triton.cdiv(columns, blocks.columns),)
    outer[grid](
        left, left_rows, right, right_rows, out, count, OuterStrides(left.stride(0), right.stride(0)),
        SIZES=OuterSizes(rows, columns), SWITCHES=OuterSwitches(left_rows is not None, right_rows is not None),
        **_configuration(right, blocks),
    )  # fmt: skip
    return out


def _fastest(kernel: str, states: Tensor, count: int, widths: tuple[int, ...], run: Callable[[Blocks], None]) -> Blocks:
    size = states.element_size()
    shape = (size, *widths, int(count <= FEW_ROWS))
    return autotuning.fastest(kernel, shape, states.device, _blocks(states, count, *widths), CANDIDATES[size], run)


def _blocks(tensor: Tensor, rows: int, *strides: int) -> Blocks:
    return product_blocks(card(tensor.device)[0], rows, tensor.element_size(), strides)


def _configuration(tensor: Tensor, blocks: Blocks) -> dict[str, Any]:
    block = product_block(blocks, tensor.dtype, on_gpu=tensor.is_cuda)
    return {"BLOCK": block, "GROUP": GROUP, "num_warps": blocks.warps, "num_stages": blocks.stages}


def _rows_contiguous(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(1) == 1 else tensor.contiguous()
