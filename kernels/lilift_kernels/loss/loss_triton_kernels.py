# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The loss's Triton kernels; ``loss_triton.py`` says how they work together and launches them."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from lilift_kernels.loss.loss_arguments import (
    GradientInputs,
    LabelTerms,
    LogitInputs,
    LogitScales,
    LogitStrides,
    LossTerms,
    Partial,
    Place,
    ProductStrides,
    Results,
    Running,
    Totals,
)

FLOOR = tl.constexpr(-1e30)  # the exponent of an empty sum: finite, so that differences stay numbers
LN_2 = tl.constexpr(math.log(2.0))


# Arguments that change from call to call are not specialised: Triton would compile a kernel for each of their kinds.
@triton.jit(do_not_specialize=["row_blocks"], do_not_specialize_on_alignment=["sources", "positions", "labels", "count"])
def exponentials(
    inputs: LogitInputs, sources, positions, labels, count, powers, partial: Partial, label_terms: LabelTerms,
    place: Place, row_blocks, strides: LogitStrides, scales: LogitScales,
    WIDTH: tl.constexpr, HAS_BIAS: tl.constexpr, SWITCHES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Blocks of exponentials [capacity, tile], and per block of columns their exponent and sum [blocks, capacity]."""
    program = tl.program_id(0)
    row_block = program % row_blocks
    column_block = program // row_blocks
    total = tl.load(count)
    if place.chunk_start + row_block * BLOCK.rows >= total:
        return
    local = row_block * BLOCK.rows + tl.arange(0, BLOCK.rows)
    inside = place.chunk_start + local < total
    source = tl.load(sources + place.chunk_start + local, mask=inside, other=0)
    first = place.tile_start + column_block * BLOCK.columns
    columns = first + tl.arange(0, BLOCK.columns)
    reachable = tl.minimum(columns, place.vocabulary - 1).to(tl.int64)
    depth = tl.arange(0, BLOCK.depth)
    states_at = inputs.hidden + source[:, None] * strides.hidden + depth[None, :]
    head_at = inputs.weight + reachable[None, :] * strides.weight + depth[:, None]
    logits = tl.zeros(BLOCK.shape, tl.float32)
    for step in range(0, WIDTH, BLOCK.depth):
        if WIDTH % BLOCK.depth == 0:
            states = tl.load(states_at)
            weights = tl.load(head_at)
        else:
            states = tl.load(states_at, mask=(depth < WIDTH - step)[None, :], other=0.0)
            weights = tl.load(head_at, mask=(depth < WIDTH - step)[:, None], other=0.0)
        if BLOCK.widens:
            states = states.to(tl.float32)
            weights = weights.to(tl.float32)
        logits = tl.dot(states, weights, logits, input_precision=BLOCK.precision)
        states_at += BLOCK.depth
        head_at += BLOCK.depth
    if HAS_BIAS:
        logits += tl.load(inputs.bias + reachable).to(tl.float32)[None, :]
    logits *= scales.inner
    if SWITCHES.has_cap:
        halved = tl.exp2(-2.8853900817779268 * tl.abs(logits))  # e ** (-2 |x|)
        logits = tl.where(logits < 0.0, halved - 1.0, 1.0 - halved) / (1.0 + halved) * scales.outer
    # Logits are in units of log 2 from here on.
    existing = (columns < place.vocabulary)[None, :]
    if SWITCHES.smooths:
        tl.store(partial.logit_sums + column_block * strides.partial + local, tl.sum(tl.where(existing, logits, 0.0), 1))
    position = tl.load(positions + place.chunk_start + local, mask=inside, other=0)
    label = tl.load(labels + position, mask=inside, other=-1)
    label = tl.where((label >= 0) & (label < place.vocabulary), label, -1).to(tl.int32)
    here = (label >= first) & (label < first + BLOCK.columns)
    hit = columns[None, :] == label[:, None]
    label_logit = tl.sum(tl.where(hit, logits, 0.0), 1)
    tl.store(label_terms.logits + local, label_logit, mask=here)
    if SWITCHES.has_cap:
        tl.store(label_terms.slopes + local, 1.0 - (label_logit / scales.outer) * (label_logit / scales.outer), mask=here)
    logits = tl.where(existing & (columns[None, :] != label[:, None]), logits, -float("inf"))
    exponent = tl.maximum(tl.ceil(tl.max(logits, 1)), FLOOR)
    power = tl.exp2(logits - exponent[:, None])
    tl.store(partial.exponents + column_block * strides.partial + local, exponent)
    tl.store(partial.sums + column_block * strides.partial + local, tl.sum(power, 1))
    if SWITCHES.stores:
        if SWITCHES.has_cap:  # its slope, from the logit that power came from: both together would not fit in the registers
            bounded = tl.maximum((tl.log2(tl.maximum(power, 1e-37)) + exponent[:, None]) / scales.outer, -1.0)
            power *= 1.0 - bounded * bounded
        if SWITCHES.lift > 0:
            power *= 2.0**SWITCHES.lift
        powers_at = powers + local[:, None] * strides.powers + (columns - place.tile_start)[None, :]
        tl.store(powers_at, power.to(powers.dtype.element_ty))


@triton.jit(do_not_specialize_on_alignment=["count"])
def merge(
    partial: Partial, count, running: Running, chunk_start, capacity,
    SIZES: tl.constexpr, SMOOTHS: tl.constexpr,
):  # fmt: skip
    """Add a tile's blocks to the running maximum and sum [capacity], and turn its exponents into factors."""
    local = tl.program_id(0) * SIZES.rows + tl.arange(0, SIZES.rows)
    if chunk_start + tl.program_id(0) * SIZES.rows >= tl.load(count):
        return
    block = tl.arange(0, SIZES.blocks_padded)
    at = block[:, None] * capacity + local[None, :]
    known = (block < SIZES.blocks)[:, None] & (local < capacity)[None, :]
    exponent = tl.load(partial.exponents + at, mask=known, other=FLOOR)
    before = tl.load(running.maximum + local)
    largest = tl.maximum(before, tl.max(exponent, 0))
    factor = tl.exp2(exponent - largest[None, :])
    part = tl.load(partial.sums + at, mask=known, other=0.0)
    lost = tl.exp2(before - largest)
    tl.store(partial.exponents + at, factor, mask=known)
    tl.store(running.maximum + local, largest)
    tl.store(running.shrink + local, lost)
    tl.store(running.total + local, tl.load(running.total + local) * lost + tl.sum(part * factor, 0))
    if SMOOTHS:
        logits = tl.load(partial.logit_sums + at, mask=known, other=0.0)
        tl.store(running.logit_total + local, tl.load(running.logit_total + local) + tl.sum(logits, 0))


@triton.jit(do_not_specialize=["row_blocks"], do_not_specialize_on_alignment=["count"])
def accumulate(
    powers, weight, factors, shrink, product, count, place: Place, row_blocks, strides: ProductStrides,
    SIZES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``product`` [capacity, D], shrunk to the new maximum, plus exponentials [capacity, tile] times head [tile, D]."""
    program = tl.program_id(0)
    row_block = program % row_blocks
    if place.chunk_start + row_block * BLOCK.rows >= tl.load(count):
        return
    local = row_block * BLOCK.rows + tl.arange(0, BLOCK.rows)
    across = (program // row_blocks) * BLOCK.columns + tl.arange(0, BLOCK.columns)
    depth = tl.arange(0, BLOCK.depth)
    product_at = product + local[:, None] * SIZES.width + across[None, :]
    present = (across < SIZES.width)[None, :]
    started = present & (place.tile_start > 0)
    sums = tl.load(product_at, mask=started, other=0.0) * tl.load(shrink + local)[:, None]
    powers_at = powers + local[:, None] * strides.powers + depth[None, :]
    for step in range(0, SIZES.tile, BLOCK.depth):
        power = tl.load(powers_at)
        token = tl.minimum(place.tile_start + step + depth, place.vocabulary - 1).to(tl.int64)
        head_at = weight + token[:, None] * strides.weight + across[None, :]
        weights = tl.load(head_at) if SIZES.width % BLOCK.columns == 0 else tl.load(head_at, mask=present, other=0.0)
        factor = tl.load(factors + (step // SIZES.factor_columns) * strides.factors + local)
        if BLOCK.widens:
            power = power.to(tl.float32)
            weights = weights.to(tl.float32)
        power = power * factor.to(power.dtype)[:, None]  # a power of two: exact
        sums = tl.dot(power, weights, sums, input_precision=BLOCK.precision)
        powers_at += BLOCK.depth
    tl.store(product_at, sums, mask=present)


@triton.jit(do_not_specialize=["ignore_index"], do_not_specialize_on_alignment=["positions", "labels", "count", "scale"])
def finish(
    inputs: GradientInputs, positions, labels, count, scale, totals: Totals, label_terms: LabelTerms, results: Results,
    chunk_start, vocabulary, weight_stride, ignore_index, terms: LossTerms,
    SIZES: tl.constexpr, SWITCHES: tl.constexpr,
):  # fmt: skip
    """Write loss, log-sum-exp and gradient of a chunk's rows to the places of their labels."""
    local = tl.program_id(0) * SIZES.rows + tl.arange(0, SIZES.rows)
    rows = tl.load(count)
    if chunk_start + tl.program_id(0) * SIZES.rows >= rows:
        return
    inside = chunk_start + local < rows
    position = tl.load(positions + chunk_start + local, mask=inside, other=0)
    label = tl.load(labels + position, mask=inside, other=0)
    ignored = label == ignore_index
    outside = ((label < 0) | (label >= vocabulary)) & (label != ignore_index)
    label = tl.where(ignored | outside, 0, label)
    factor = tl.load(scale)

    largest = tl.load(totals.maximum + local)
    others = tl.load(totals.total + local)  # sum of 2 ** (z - largest), the label left out
    label_logit = tl.load(label_terms.logits + local)
    wrong = (largest + tl.log2(others) - label_logit) * LN_2  # log of the odds against the label
    tail = tl.exp(-tl.abs(wrong))
    series = tail * (1.0 - tail * (0.5 - tail * (0.33333334 - tail * 0.25)))
    tail = tl.where(tail < 0.01, series, tl.log(1.0 + tail))  # log(1 + tail)
    loss = tl.maximum(wrong, 0.0) + tail
    log_sum = tl.maximum(label_logit * LN_2, label_logit * LN_2 + wrong) + tail
    pull = 1.0 + 2.0 * terms.z_loss * log_sum
    if SWITCHES.smooths:
        spread = log_sum - tl.load(totals.logit_total + local) * LN_2 / vocabulary
        loss = (1.0 - terms.label_smoothing) * loss + terms.label_smoothing * spread
    loss = (loss + terms.z_loss * log_sum * log_sum) * factor
    loss = tl.where(ignored, 0.0, tl.where(outside, float("nan"), loss))
    if tl.program_id(1) == 0:
        tl.store(results.losses + position, loss, mask=inside)
        tl.store(results.log_sums + position, tl.where(ignored | outside, 0.0, log_sum), mask=inside)

    if SWITCHES.stores:
        inverse = 1.0 / (others + tl.exp2(label_logit - largest))
        miss = others * inverse  # 1 - p(label), exact where it is tiny
        label_pull = terms.label_smoothing - miss + (pull - 1.0) * (1.0 - miss)
        if SWITCHES.has_cap:
            label_pull *= tl.load(label_terms.slopes + local)
        inverse *= pull
        if SWITCHES.lift > 0:
            inverse *= 2.0**-SWITCHES.lift
        across = tl.program_id(1) * SIZES.columns + tl.arange(0, SIZES.columns)
        present = (across < SIZES.width)[None, :] & inside[:, None]
        sums = tl.load(inputs.product + local[:, None] * SIZES.width + across[None, :], mask=present, other=0.0)
        weights = tl.load(inputs.weight + label[:, None] * weight_stride + across[None, :], mask=present, other=0.0)
        result = sums * inverse[:, None] + weights.to(tl.float32) * label_pull[:, None]
        if SWITCHES.smooths:
            uniform = tl.load(inputs.column_sum + across, mask=across < SIZES.width, other=0.0)
            result -= uniform[None, :] * (terms.label_smoothing / vocabulary)
        result *= terms.logit_scale * factor
        result = tl.where(ignored[:, None], 0.0, tl.where(outside[:, None], float("nan"), result))
        gradient_at = results.gradient + position[:, None].to(tl.int64) * SIZES.width + across[None, :]
        tl.store(gradient_at, result.to(results.gradient.dtype.element_ty), mask=present)
