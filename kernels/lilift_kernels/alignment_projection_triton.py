# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The alignment projection in Triton: three matrix products that read and write rows where they lie.

Forward is ``linear`` twice: gathered encoder states in, GELU in the epilogue, then straight into the embedding buffer's slots.
Backward is ``hidden_gradient``, whose epilogue recomputes GELU and multiplies by its derivative, and ``outer`` once per weight.
No sums cross programs, so results repeat bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from lilift_kernels import autotuning
from lilift_kernels.alignment_projection_torch import ProjectionGradients
from lilift_kernels.tiles import CANDIDATES, FEW_ROWS, Blocks, card, product_blocks

GROUP = 8  # blocks of rows that share a block of columns while it is in the L2 cache


@triton.jit
def block_of(program, row_blocks, column_blocks, GROUP: tl.constexpr):
    """The block of rows and of columns of a program: down a group of rows first, then across."""
    group = program // (GROUP * column_blocks)
    height = tl.minimum(row_blocks - group * GROUP, GROUP)
    inner = program % (GROUP * column_blocks)
    return group * GROUP + inner % height, inner // height


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["rows", "slots"])
def linear(
    inputs, rows, weight, bias, out, slots, kept, number, input_stride, out_stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HAS_ROWS: tl.constexpr, HAS_SLOTS: tl.constexpr, HAS_BIAS: tl.constexpr,
    GELU: tl.constexpr, KEEPS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_DEPTH: tl.constexpr, GROUP: tl.constexpr,
    PRECISION: tl.constexpr, WIDENS: tl.constexpr,
):  # fmt: skip
    """``out[slots] = gelu(inputs[rows] @ weight.T + bias)``; ``kept`` gets what goes into the GELU."""
    row_blocks = tl.cdiv(number, BLOCK_ROWS)
    row_block, column_block = block_of(tl.program_id(0), row_blocks, (COLUMNS + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, GROUP)
    row = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    inside = row < number
    reachable = tl.minimum(row, number - 1).to(tl.int64)
    source = tl.load(rows + reachable) if HAS_ROWS else reachable
    column = column_block * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    present = column < COLUMNS
    depth = tl.arange(0, BLOCK_DEPTH)
    inputs_at = inputs + source[:, None] * input_stride + depth[None, :]
    weight_at = weight + tl.minimum(column, COLUMNS - 1).to(tl.int64)[None, :] * WIDTH + depth[:, None]
    sums = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for step in range(0, WIDTH, BLOCK_DEPTH):
        if WIDTH % BLOCK_DEPTH == 0:
            left = tl.load(inputs_at)
            right = tl.load(weight_at)
        else:
            left = tl.load(inputs_at, mask=(depth < WIDTH - step)[None, :], other=0.0)
            right = tl.load(weight_at, mask=(depth < WIDTH - step)[:, None], other=0.0)
        if WIDENS:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        sums = tl.dot(left, right, sums, input_precision=PRECISION)
        inputs_at += BLOCK_DEPTH
        weight_at += BLOCK_DEPTH
    if HAS_BIAS:
        sums += tl.load(bias + column, mask=present, other=0.0).to(tl.float32)[None, :]
    written = inside[:, None] & present[None, :]
    if KEEPS:
        kept_at = kept + reachable[:, None] * COLUMNS + column[None, :]
        tl.store(kept_at, sums.to(kept.dtype.element_ty), mask=written)
    if GELU:
        sums = 0.5 * sums * (1.0 + tl.erf(sums * 0.7071067811865476))
    slot = tl.load(slots + reachable) if HAS_SLOTS else reachable
    tl.store(out + slot[:, None] * out_stride + column[None, :], sums.to(out.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["slots"])
def hidden_gradient(
    upstream, slots, weight, kept, result, number, upstream_stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_DEPTH: tl.constexpr, GROUP: tl.constexpr,
    PRECISION: tl.constexpr, WIDENS: tl.constexpr,
):  # fmt: skip
    """``result = (upstream[slots] @ weight) * gelu'(kept)`` [N, H]; weight is [D, H] and kept [N, H]."""
    row_blocks = tl.cdiv(number, BLOCK_ROWS)
    row_block, column_block = block_of(tl.program_id(0), row_blocks, (COLUMNS + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, GROUP)
    row = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    reachable = tl.minimum(row, number - 1).to(tl.int64)
    slot = tl.load(slots + reachable)
    column = column_block * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    present = column < COLUMNS
    depth = tl.arange(0, BLOCK_DEPTH)
    upstream_at = upstream + slot[:, None] * upstream_stride + depth[None, :]
    weight_at = weight + depth.to(tl.int64)[:, None] * COLUMNS + column[None, :]
    sums = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for step in range(0, WIDTH, BLOCK_DEPTH):
        if WIDTH % BLOCK_DEPTH == 0 and COLUMNS % BLOCK_COLUMNS == 0:
            left = tl.load(upstream_at)
            right = tl.load(weight_at)
        else:
            there = depth < WIDTH - step
            left = tl.load(upstream_at, mask=there[None, :], other=0.0)
            right = tl.load(weight_at, mask=there[:, None] & present[None, :], other=0.0)
        if WIDENS:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        sums = tl.dot(left.to(right.dtype), right, sums, input_precision=PRECISION)
        upstream_at += BLOCK_DEPTH
        weight_at += BLOCK_DEPTH * COLUMNS
    written = (row < number)[:, None] & present[None, :]
    at = reachable[:, None] * COLUMNS + column[None, :]
    value = tl.load(kept + at, mask=written, other=0.0).to(tl.float32)
    below = 0.5 + 0.5 * tl.erf(value * 0.7071067811865476)  # the normal distribution up to value
    slope = below + value * (0.3989422804014327 * tl.exp(-0.5 * value * value))
    tl.store(result + at, (sums * slope).to(result.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["left_rows", "right_rows"])
def outer(
    left, left_rows, right, right_rows, out, number, left_stride, right_stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_DEPTH: tl.constexpr, GROUP: tl.constexpr,
    PRECISION: tl.constexpr, WIDENS: tl.constexpr,
):  # fmt: skip
    """``out = left[left_rows].T @ right[right_rows]`` [ROWS, COLUMNS], summed over ``number`` rows; a weight's gradient."""
    row_blocks: tl.constexpr = (ROWS + BLOCK_ROWS - 1) // BLOCK_ROWS
    row_block, column_block = block_of(tl.program_id(0), row_blocks, (COLUMNS + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS, GROUP)
    row = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = column_block * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    depth = tl.arange(0, BLOCK_DEPTH)
    sums = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for step in range(0, number, BLOCK_DEPTH):
        item = (step + depth).to(tl.int64)
        there = item < number
        from_left = tl.load(left_rows + item, mask=there, other=0) if HAS_LEFT else item
        from_right = tl.load(right_rows + item, mask=there, other=0) if HAS_RIGHT else item
        left_at = left + from_left[None, :] * left_stride + row[:, None]  # read as its transpose
        right_at = right + from_right[:, None] * right_stride + column[None, :]
        left_there = there[None, :]
        right_there = there[:, None]
        if ROWS % BLOCK_ROWS != 0:
            left_there = left_there & (row < ROWS)[:, None]
        if COLUMNS % BLOCK_COLUMNS != 0:
            right_there = right_there & (column < COLUMNS)[None, :]
        first = tl.load(left_at, mask=left_there, other=0.0)
        second = tl.load(right_at, mask=right_there, other=0.0)
        if WIDENS:
            first = first.to(tl.float32)
            second = second.to(tl.float32)
        sums = tl.dot(first.to(second.dtype), second, sums, input_precision=PRECISION)
    at = out + row.to(tl.int64)[:, None] * COLUMNS + column[None, :]
    tl.store(at, sums.to(out.dtype.element_ty), mask=(row < ROWS)[:, None] & (column < COLUMNS)[None, :])


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
    """As in the torch path; ``blocks`` replaces the table's choice."""
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
    """As in the torch path, but ``upstream`` [R, D] is the whole buffer's gradient, read at ``slots``."""
    wants_states, wants_w1, wants_b1, wants_w2, wants_b2 = wanted
    upstream, states = _rows_contiguous(upstream), _rows_contiguous(states)
    count = slots.shape[0]
    if blocks is None and count > 0 and autotuning.enabled():

        def again(candidate: Blocks) -> None:
            project_backward(upstream, slots, states, rows, w1, w2, pre_activation, wanted, gradient_type, blocks=candidate)

        blocks = _fastest("projection, backward", states, count, (*w1.shape, upstream.shape[1]), again)
    w2_gradient = b2_gradient = b1_gradient = None
    # Of the first layer's output, and where its rows lie.
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


def deepened(blocks: Blocks) -> Blocks:
    """``blocks`` for ``outer``: one stage more, for the loads of the row numbers that its loads wait for."""
    return replace(blocks, stages=blocks.stages + 1)


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
    blocks = blocks or _blocks(inputs, count)
    grid = (triton.cdiv(count, blocks.rows) * triton.cdiv(weight.shape[0], blocks.columns),)
    linear[grid](
        inputs, rows, weight, bias, out, slots, kept, count, inputs.stride(0), out.stride(0),
        WIDTH=weight.shape[1], COLUMNS=weight.shape[0], HAS_ROWS=rows is not None, HAS_SLOTS=slots is not None,
        HAS_BIAS=bias is not None, GELU=gelu, KEEPS=kept is not None, **_options(inputs, blocks),
    )  # fmt: skip


def _hidden_gradient(
    upstream: Tensor, slots: Tensor, weight: Tensor, kept: Tensor, result: Tensor, blocks: Blocks | None
) -> None:
    count, columns = result.shape
    if count == 0:
        return
    blocks = blocks or _blocks(result, count)
    grid = (triton.cdiv(count, blocks.rows) * triton.cdiv(columns, blocks.columns),)
    hidden_gradient[grid](
        upstream, slots, weight, kept, result, count, upstream.stride(0),
        WIDTH=weight.shape[0], COLUMNS=columns, **_options(result, blocks),
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
    blocks = deepened(blocks or _blocks(right, rows))
    grid = (triton.cdiv(rows, blocks.rows) * triton.cdiv(columns, blocks.columns),)
    outer[grid](
        left, left_rows, right, right_rows, out, count, left.stride(0), right.stride(0),
        ROWS=rows, COLUMNS=columns, HAS_LEFT=left_rows is not None, HAS_RIGHT=right_rows is not None,
        **_options(right, blocks),
    )  # fmt: skip
    return out


def _fastest(kernel: str, states: Tensor, count: int, widths: tuple[int, ...], run: Callable[[Blocks], None]) -> Blocks:
    size = states.element_size()
    shape = (size, *widths, int(count <= FEW_ROWS))
    return autotuning.fastest(kernel, shape, states.device, _blocks(states, count), CANDIDATES[size], run)


def _blocks(tensor: Tensor, rows: int) -> Blocks:
    return product_blocks(card(tensor.device)[0], rows, tensor.element_size())


def _options(tensor: Tensor, blocks: Blocks) -> dict[str, object]:
    exact = tensor.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    return {
        "BLOCK_ROWS": blocks.rows,
        "BLOCK_COLUMNS": blocks.columns,
        "BLOCK_DEPTH": blocks.depth,
        "GROUP": GROUP,
        "PRECISION": "ieee" if exact else "tf32",
        "WIDENS": not tensor.is_cuda,  # Triton's interpreter multiplies bf16 wrongly
        "num_warps": blocks.warps,
        "num_stages": blocks.stages,
    }


def _rows_contiguous(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(1) == 1 else tensor.contiguous()
