# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The projection's Triton kernels: three matrix products that read and write rows where they lie."""

from __future__ import annotations

import triton
import triton.language as tl


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
