# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The projection's Triton kernels: three matrix products that read and write rows where they lie."""

from __future__ import annotations

import triton
import triton.language as tl

from lilift_kernels.projection.projection_arguments import LinearStrides, OuterStrides


@triton.jit
def block_of(program, row_blocks, column_blocks, GROUP: tl.constexpr):
    """The block of rows and of columns of a program: down a group of rows first, then across."""
    group = program // (GROUP * column_blocks)
    height = tl.minimum(row_blocks - group * GROUP, GROUP)
    inner = program % (GROUP * column_blocks)
    return group * GROUP + inner % height, inner // height


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["rows", "slots"])
def linear(
    inputs, rows, weight, bias, out, slots, kept, number, strides: LinearStrides,
    SIZES: tl.constexpr, SWITCHES: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """``out[slots] = gelu(inputs[rows] @ weight.T + bias)``; ``kept`` gets what goes into the GELU."""
    row_blocks = tl.cdiv(number, BLOCK.rows)
    column_blocks: tl.constexpr = (SIZES.columns + BLOCK.columns - 1) // BLOCK.columns
    row_block, column_block = block_of(tl.program_id(0), row_blocks, column_blocks, GROUP)
    row = row_block * BLOCK.rows + tl.arange(0, BLOCK.rows)
    inside = row < number
    reachable = tl.minimum(row, number - 1).to(tl.int64)
    source = tl.load(rows + reachable) if SWITCHES.has_rows else reachable
    column = column_block * BLOCK.columns + tl.arange(0, BLOCK.columns)
    present = column < SIZES.columns
    depth = tl.arange(0, BLOCK.depth)
    inputs_at = inputs + source[:, None] * strides.inputs + depth[None, :]
    weight_at = weight + tl.minimum(column, SIZES.columns - 1).to(tl.int64)[None, :] * SIZES.width + depth[:, None]
    sums = tl.zeros(BLOCK.shape, tl.float32)
    for step in range(0, SIZES.width, BLOCK.depth):
        if SIZES.width % BLOCK.depth == 0:
            left = tl.load(inputs_at)
            right = tl.load(weight_at)
        else:
            left = tl.load(inputs_at, mask=(depth < SIZES.width - step)[None, :], other=0.0)
            right = tl.load(weight_at, mask=(depth < SIZES.width - step)[:, None], other=0.0)
        if BLOCK.widens:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        sums = tl.dot(left, right, sums, input_precision=BLOCK.precision)
        inputs_at += BLOCK.depth
        weight_at += BLOCK.depth
    if SWITCHES.has_bias:
        sums += tl.load(bias + column, mask=present, other=0.0).to(tl.float32)[None, :]
    written = inside[:, None] & present[None, :]
    if SWITCHES.keeps:
        kept_at = kept + reachable[:, None] * SIZES.columns + column[None, :]
        tl.store(kept_at, sums.to(kept.dtype.element_ty), mask=written)
    if SWITCHES.gelu:
        sums = 0.5 * sums * (1.0 + tl.erf(sums * 0.7071067811865476))
    slot = tl.load(slots + reachable) if SWITCHES.has_slots else reachable
    tl.store(out + slot[:, None] * strides.out + column[None, :], sums.to(out.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["slots"])
def hidden_gradient(
    upstream, slots, weight, kept, result, number, upstream_stride,
    SIZES: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """``result = (upstream[slots] @ weight) * gelu'(kept)`` [N, H]; weight is [D, H] and kept [N, H]."""
    row_blocks = tl.cdiv(number, BLOCK.rows)
    column_blocks: tl.constexpr = (SIZES.columns + BLOCK.columns - 1) // BLOCK.columns
    row_block, column_block = block_of(tl.program_id(0), row_blocks, column_blocks, GROUP)
    row = row_block * BLOCK.rows + tl.arange(0, BLOCK.rows)
    reachable = tl.minimum(row, number - 1).to(tl.int64)
    slot = tl.load(slots + reachable)
    column = column_block * BLOCK.columns + tl.arange(0, BLOCK.columns)
    present = column < SIZES.columns
    depth = tl.arange(0, BLOCK.depth)
    upstream_at = upstream + slot[:, None] * upstream_stride + depth[None, :]
    weight_at = weight + depth.to(tl.int64)[:, None] * SIZES.columns + column[None, :]
    sums = tl.zeros(BLOCK.shape, tl.float32)
    for step in range(0, SIZES.width, BLOCK.depth):
        if SIZES.width % BLOCK.depth == 0 and SIZES.columns % BLOCK.columns == 0:
            left = tl.load(upstream_at)
            right = tl.load(weight_at)
        else:
            there = depth < SIZES.width - step
            left = tl.load(upstream_at, mask=there[None, :], other=0.0)
            right = tl.load(weight_at, mask=there[:, None] & present[None, :], other=0.0)
        if BLOCK.widens:
            left = left.to(tl.float32)
            right = right.to(tl.float32)
        sums = tl.dot(left.to(right.dtype), right, sums, input_precision=BLOCK.precision)
        upstream_at += BLOCK.depth
        weight_at += BLOCK.depth * SIZES.columns
    written = (row < number)[:, None] & present[None, :]
    at = reachable[:, None] * SIZES.columns + column[None, :]
    value = tl.load(kept + at, mask=written, other=0.0).to(tl.float32)
    below = 0.5 + 0.5 * tl.erf(value * 0.7071067811865476)  # the normal distribution up to value
    slope = below + value * (0.3989422804014327 * tl.exp(-0.5 * value * value))
    tl.store(result + at, (sums * slope).to(result.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=["number"], do_not_specialize_on_alignment=["left_rows", "right_rows"])
def outer(
    left, left_rows, right, right_rows, out, number, strides: OuterStrides,
    SIZES: tl.constexpr, SWITCHES: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """``out = left[left_rows].T @ right[right_rows]`` [ROWS, COLUMNS], summed over ``number`` rows; a weight's gradient."""
    row_blocks: tl.constexpr = (SIZES.rows + BLOCK.rows - 1) // BLOCK.rows
    column_blocks: tl.constexpr = (SIZES.columns + BLOCK.columns - 1) // BLOCK.columns
    row_block, column_block = block_of(tl.program_id(0), row_blocks, column_blocks, GROUP)
    row = row_block * BLOCK.rows + tl.arange(0, BLOCK.rows)
    column = column_block * BLOCK.columns + tl.arange(0, BLOCK.columns)
    depth = tl.arange(0, BLOCK.depth)
    sums = tl.zeros(BLOCK.shape, tl.float32)
    for step in range(0, number, BLOCK.depth):
        item = (step + depth).to(tl.int64)
        there = item < number
        from_left = tl.load(left_rows + item, mask=there, other=0) if SWITCHES.has_left else item
        from_right = tl.load(right_rows + item, mask=there, other=0) if SWITCHES.has_right else item
        left_at = left + from_left[None, :] * strides.left + row[:, None]  # read as its transpose
        right_at = right + from_right[:, None] * strides.right + column[None, :]
        left_there = there[None, :]
        right_there = there[:, None]
        if SIZES.rows % BLOCK.rows != 0:
            left_there = left_there & (row < SIZES.rows)[:, None]
        if SIZES.columns % BLOCK.columns != 0:
            right_there = right_there & (column < SIZES.columns)[None, :]
        first = tl.load(left_at, mask=left_there, other=0.0)
        second = tl.load(right_at, mask=right_there, other=0.0)
        if BLOCK.widens:
            first = first.to(tl.float32)
            second = second.to(tl.float32)
        sums = tl.dot(first.to(second.dtype), second, sums, input_precision=BLOCK.precision)
    at = out + row.to(tl.int64)[:, None] * SIZES.columns + column[None, :]
    tl.store(at, sums.to(out.dtype.element_ty), mask=(row < SIZES.rows)[:, None] & (column < SIZES.columns)[None, :])
