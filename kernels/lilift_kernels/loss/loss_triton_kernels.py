# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The loss's Triton kernels; ``loss_triton.py`` says how they work together and launches them."""

from __future__ import annotations

import math

import triton
import triton.language as tl

FLOOR = tl.constexpr(-1e30)  # the exponent of nothing: finite, so that differences stay numbers
LN_2 = tl.constexpr(math.log(2.0))


# Arguments that change from call to call get no specialised kernels: each would be compiled anew.
@triton.jit(do_not_specialize=["row_blocks"], do_not_specialize_on_alignment=["sources", "positions", "labels", "count"])
def exponentials(
    hidden, weight, bias, sources, positions, labels, count,
    powers, exponents, sums, logit_sums, label_logits, label_slopes,
    chunk_start, tile_start, vocabulary, row_blocks, capacity,
    hidden_stride, weight_stride, powers_stride, inner_scale, outer_scale,
    WIDTH: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_DEPTH: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_CAP: tl.constexpr, SMOOTHS: tl.constexpr,
    STORES: tl.constexpr, LIFT: tl.constexpr, PRECISION: tl.constexpr, WIDENS: tl.constexpr,
):  # fmt: skip
    """Blocks of exponentials [capacity, tile], and per block of columns their exponent and sum [blocks, capacity]."""
    program = tl.program_id(0)
    row_block = program % row_blocks
    column_block = program // row_blocks
    total = tl.load(count)
    if chunk_start + row_block * BLOCK_ROWS >= total:
        return
    local = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    inside = chunk_start + local < total
    source = tl.load(sources + chunk_start + local, mask=inside, other=0)
    first = tile_start + column_block * BLOCK_COLUMNS
    columns = first + tl.arange(0, BLOCK_COLUMNS)
    reachable = tl.minimum(columns, vocabulary - 1).to(tl.int64)
    depth = tl.arange(0, BLOCK_DEPTH)
    states_at = hidden + source[:, None] * hidden_stride + depth[None, :]
    head_at = weight + reachable[None, :] * weight_stride + depth[:, None]
    logits = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for step in range(0, WIDTH, BLOCK_DEPTH):
        if WIDTH % BLOCK_DEPTH == 0:
            states = tl.load(states_at)
            head = tl.load(head_at)
        else:
            states = tl.load(states_at, mask=(depth < WIDTH - step)[None, :], other=0.0)
            head = tl.load(head_at, mask=(depth < WIDTH - step)[:, None], other=0.0)
        if WIDENS:
            states = states.to(tl.float32)
            head = head.to(tl.float32)
        logits = tl.dot(states, head, logits, input_precision=PRECISION)
        states_at += BLOCK_DEPTH
        head_at += BLOCK_DEPTH
    if HAS_BIAS:
        logits += tl.load(bias + reachable).to(tl.float32)[None, :]
    logits *= inner_scale
    if HAS_CAP:
        halved = tl.exp2(-2.8853900817779268 * tl.abs(logits))  # e ** (-2 |x|)
        logits = tl.where(logits < 0.0, halved - 1.0, 1.0 - halved) / (1.0 + halved) * outer_scale
    # Logits are in units of log 2 from here on.
    existing = (columns < vocabulary)[None, :]
    if SMOOTHS:
        tl.store(logit_sums + column_block * capacity + local, tl.sum(tl.where(existing, logits, 0.0), 1))
    position = tl.load(positions + chunk_start + local, mask=inside, other=0)
    label = tl.load(labels + position, mask=inside, other=-1)
    label = tl.where((label >= 0) & (label < vocabulary), label, -1).to(tl.int32)
    here = (label >= first) & (label < first + BLOCK_COLUMNS)
    hit = columns[None, :] == label[:, None]
    label_logit = tl.sum(tl.where(hit, logits, 0.0), 1)
    tl.store(label_logits + local, label_logit, mask=here)
    if HAS_CAP:
        tl.store(label_slopes + local, 1.0 - (label_logit / outer_scale) * (label_logit / outer_scale), mask=here)
    logits = tl.where(existing & (columns[None, :] != label[:, None]), logits, -float("inf"))
    exponent = tl.maximum(tl.ceil(tl.max(logits, 1)), FLOOR)
    power = tl.exp2(logits - exponent[:, None])
    tl.store(exponents + column_block * capacity + local, exponent)
    tl.store(sums + column_block * capacity + local, tl.sum(power, 1))
    if STORES:
        if HAS_CAP:  # its slope, from the logit that power came from: beside it the logit would not fit in the registers
            bounded = tl.maximum((tl.log2(tl.maximum(power, 1e-37)) + exponent[:, None]) / outer_scale, -1.0)
            power *= 1.0 - bounded * bounded
        if LIFT > 0:
            power *= 2.0**LIFT
        powers_at = powers + local[:, None] * powers_stride + (columns - tile_start)[None, :]
        tl.store(powers_at, power.to(powers.dtype.element_ty))


@triton.jit(do_not_specialize_on_alignment=["count"])
def merge(
    exponents, sums, logit_sums, count, maximum, total, shrink, logit_total, chunk_start, capacity,
    BLOCKS: tl.constexpr, BLOCKS_PADDED: tl.constexpr, ROWS: tl.constexpr, SMOOTHS: tl.constexpr,
):  # fmt: skip
    """Take a tile's blocks into the running maximum and sum [capacity], and turn its exponents into factors."""
    local = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    if chunk_start + tl.program_id(0) * ROWS >= tl.load(count):
        return
    block = tl.arange(0, BLOCKS_PADDED)
    at = block[:, None] * capacity + local[None, :]
    known = (block < BLOCKS)[:, None] & (local < capacity)[None, :]
    exponent = tl.load(exponents + at, mask=known, other=FLOOR)
    running = tl.load(maximum + local)
    largest = tl.maximum(running, tl.max(exponent, 0))
    factor = tl.exp2(exponent - largest[None, :])
    part = tl.load(sums + at, mask=known, other=0.0)
    lost = tl.exp2(running - largest)
    tl.store(exponents + at, factor, mask=known)
    tl.store(maximum + local, largest)
    tl.store(shrink + local, lost)
    tl.store(total + local, tl.load(total + local) * lost + tl.sum(part * factor, 0))
    if SMOOTHS:
        logits = tl.load(logit_sums + at, mask=known, other=0.0)
        tl.store(logit_total + local, tl.load(logit_total + local) + tl.sum(logits, 0))


@triton.jit(do_not_specialize=["row_blocks"], do_not_specialize_on_alignment=["count"])
def accumulate(
    powers, weight, factors, shrink, product, count,
    chunk_start, tile_start, vocabulary, row_blocks, capacity, weight_stride, powers_stride,
    WIDTH: tl.constexpr, TILE: tl.constexpr, FACTOR_COLUMNS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_DEPTH: tl.constexpr,
    PRECISION: tl.constexpr, WIDENS: tl.constexpr,
):  # fmt: skip
    """``product`` [capacity, D], shrunk to the new maximum, plus exponentials [capacity, tile] times head [tile, D]."""
    program = tl.program_id(0)
    row_block = program % row_blocks
    if chunk_start + row_block * BLOCK_ROWS >= tl.load(count):
        return
    local = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    across = (program // row_blocks) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    depth = tl.arange(0, BLOCK_DEPTH)
    product_at = product + local[:, None] * WIDTH + across[None, :]
    present = (across < WIDTH)[None, :]
    started = present & (tile_start > 0)
    sums = tl.load(product_at, mask=started, other=0.0) * tl.load(shrink + local)[:, None]
    powers_at = powers + local[:, None] * powers_stride + depth[None, :]
    for step in range(0, TILE, BLOCK_DEPTH):
        power = tl.load(powers_at)
        token = tl.minimum(tile_start + step + depth, vocabulary - 1).to(tl.int64)
        head_at = weight + token[:, None] * weight_stride + across[None, :]
        head = tl.load(head_at) if WIDTH % BLOCK_COLUMNS == 0 else tl.load(head_at, mask=present, other=0.0)
        factor = tl.load(factors + (step // FACTOR_COLUMNS) * capacity + local)
        if WIDENS:
            power = power.to(tl.float32)
            head = head.to(tl.float32)
        power = power * factor.to(power.dtype)[:, None]  # a power of two: exact
        sums = tl.dot(power, head, sums, input_precision=PRECISION)
        powers_at += BLOCK_DEPTH
    tl.store(product_at, sums, mask=present)


@triton.jit(do_not_specialize=["ignore_index"], do_not_specialize_on_alignment=["positions", "labels", "count", "scale"])
def finish(
    product, weight, column_sum, positions, labels, count, scale, maximum, total, logit_total, label_logits, label_slopes,
    losses, log_sums, gradient, chunk_start, vocabulary, weight_stride,
    ignore_index, logit_scale, label_smoothing, z_loss,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HAS_CAP: tl.constexpr, SMOOTHS: tl.constexpr,
    STORES: tl.constexpr, LIFT: tl.constexpr,
):  # fmt: skip
    """Loss, log-sum-exp and gradient of a chunk's rows, written to the places of their labels."""
    local = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    rows = tl.load(count)
    if chunk_start + tl.program_id(0) * ROWS >= rows:
        return
    inside = chunk_start + local < rows
    position = tl.load(positions + chunk_start + local, mask=inside, other=0)
    label = tl.load(labels + position, mask=inside, other=0)
    ignored = label == ignore_index
    outside = ((label < 0) | (label >= vocabulary)) & (label != ignore_index)
    label = tl.where(ignored | outside, 0, label)
    factor = tl.load(scale)

    largest = tl.load(maximum + local)
    others = tl.load(total + local)  # sum of 2 ** (z - largest), the label left out
    label_logit = tl.load(label_logits + local)
    wrong = (largest + tl.log2(others) - label_logit) * LN_2  # log of the odds against the label
    tail = tl.exp(-tl.abs(wrong))
    series = tail * (1.0 - tail * (0.5 - tail * (0.33333334 - tail * 0.25)))
    tail = tl.where(tail < 0.01, series, tl.log(1.0 + tail))  # log(1 + tail)
    loss = tl.maximum(wrong, 0.0) + tail
    log_sum = tl.maximum(label_logit * LN_2, label_logit * LN_2 + wrong) + tail
    pull = 1.0 + 2.0 * z_loss * log_sum
    if SMOOTHS:
        spread = log_sum - tl.load(logit_total + local) * LN_2 / vocabulary
        loss = (1.0 - label_smoothing) * loss + label_smoothing * spread
    loss = (loss + z_loss * log_sum * log_sum) * factor
    loss = tl.where(ignored, 0.0, tl.where(outside, float("nan"), loss))
    if tl.program_id(1) == 0:
        tl.store(losses + position, loss, mask=inside)
        tl.store(log_sums + position, tl.where(ignored | outside, 0.0, log_sum), mask=inside)

    if STORES:
        inverse = 1.0 / (others + tl.exp2(label_logit - largest))
        miss = others * inverse  # 1 - p(label), exact where it is tiny
        label_pull = label_smoothing - miss + (pull - 1.0) * (1.0 - miss)
        if HAS_CAP:
            label_pull *= tl.load(label_slopes + local)
        inverse *= pull
        if LIFT > 0:
            inverse *= 2.0**-LIFT
        across = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        present = (across < WIDTH)[None, :] & inside[:, None]
        sums = tl.load(product + local[:, None] * WIDTH + across[None, :], mask=present, other=0.0)
        head = tl.load(weight + label[:, None] * weight_stride + across[None, :], mask=present, other=0.0)
        result = sums * inverse[:, None] + head.to(tl.float32) * label_pull[:, None]
        if SMOOTHS:
            uniform = tl.load(column_sum + across, mask=across < WIDTH, other=0.0)
            result -= uniform[None, :] * (label_smoothing / vocabulary)
        result *= logit_scale * factor
        result = tl.where(ignored[:, None], 0.0, tl.where(outside[:, None], float("nan"), result))
        gradient_at = gradient + position[:, None].to(tl.int64) * WIDTH + across[None, :]
        tl.store(gradient_at, result.to(gradient.dtype.element_ty), mask=present)
