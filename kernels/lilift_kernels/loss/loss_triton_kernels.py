# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""The loss's Triton kernels; ``loss_triton.py`` says how they work together with the library's products and launches them."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from lilift_kernels.loss.loss_arguments import GradientInputs, LogitScales, LossTerms, Results, Slice

FLOOR = tl.constexpr(-1e30)  # the reference of an empty sum: finite, so that differences stay numbers
SLACK = tl.constexpr(1.0)  # powers of two by which a logit may exceed the row's reference before the reference is raised
LN_2 = tl.constexpr(math.log(2.0))

# Rows of the tensor [5, R] of numbers that a row keeps from slice to slice.
REFERENCE = tl.constexpr(0)  # a logit that was the row's largest, in units of log 2
TOTAL = tl.constexpr(1)  # sum of 2 ** (z - reference), without the label
LOGIT_TOTAL = tl.constexpr(2)  # sum of all logits, for label smoothing
LABEL_LOGIT = tl.constexpr(3)
LABEL_SLOPE = tl.constexpr(4)  # under a softcap, d(capped logit) / d(plain logit)


# Arguments that change from call to call are not specialised: Triton would compile a kernel for each of their kinds.
@triton.jit(do_not_specialize=["first", "rows"], do_not_specialize_on_alignment=["labels", "sums"])
def exponentials(
    part: Slice, labels, sums, product, first, columns, rows, scales: LogitScales, SIZES: tl.constexpr, SWITCHES: tl.constexpr
):  # fmt: skip
    """Turn one row's logits of a slice into exponentials, in place, and add them to the row's sums; one program per row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, SIZES.columns)
    present = column < columns
    logits = tl.load(part.logits + row * columns + column, mask=present, other=0.0)
    if SWITCHES.has_bias:
        logits += tl.load(part.bias + first + column, mask=present, other=0.0).to(tl.float32)
    logits *= scales.inner
    if SWITCHES.has_cap:
        halved = tl.exp2(-2.8853900817779268 * tl.abs(logits))  # e ** (-2 |x|)
        logits = tl.where(logits < 0.0, halved - 1.0, 1.0 - halved) / (1.0 + halved) * scales.outer
    # Logits are in units of log 2 from here on.
    begins = first == 0
    if SWITCHES.smooths:
        logit_total = tl.where(begins, 0.0, tl.load(sums + LOGIT_TOTAL * rows + row))
        tl.store(sums + LOGIT_TOTAL * rows + row, logit_total + tl.sum(tl.where(present, logits, 0.0), 0))
    place = tl.load(labels + row) - first
    if (place >= 0) & (place < columns):
        label_logit = tl.sum(tl.where(column == place, logits, 0.0), 0)
        tl.store(sums + LABEL_LOGIT * rows + row, label_logit)
        if SWITCHES.has_cap:
            tl.store(sums + LABEL_SLOPE * rows + row, 1.0 - (label_logit / scales.outer) * (label_logit / scales.outer))
    logits = tl.where(present & (column != place), logits, -float("inf"))
    before = tl.where(begins, FLOOR, tl.load(sums + REFERENCE * rows + row))
    total = tl.where(begins, 0.0, tl.load(sums + TOTAL * rows + row))
    largest = tl.maximum(tl.max(logits, 0), FLOOR)
    reference = tl.where(largest > before + SLACK, largest, before)
    power = tl.exp2(logits - reference)
    shrink = tl.exp2(before - reference)
    tl.store(sums + TOTAL * rows + row, total * shrink + tl.sum(power, 0))
    tl.store(sums + REFERENCE * rows + row, reference)
    if SWITCHES.stores:
        if SWITCHES.has_cap:  # the cap's slope, from the logit that power came from
            bounded = tl.maximum((tl.log2(tl.maximum(power, 1e-37)) + reference) / scales.outer, -1.0)
            power *= 1.0 - bounded * bounded
        if SWITCHES.lift > 0:
            power *= 2.0**SWITCHES.lift
        # Every thread's powers depend on the maximum over the row, so all threads have read their logits by now.
        powers_at = part.powers + row * columns * SIZES.spread + column
        tl.store(powers_at, power.to(part.powers.dtype.element_ty), mask=present)
        if (shrink != 1.0) & (first > 0):
            for start in range(0, SIZES.width, SIZES.block):
                across = start + tl.arange(0, SIZES.block)
                product_at = product + row * SIZES.width + across
                older = tl.load(product_at, mask=across < SIZES.width, other=0.0)
                tl.store(product_at, older * shrink, mask=across < SIZES.width)


@triton.jit(
    do_not_specialize=["start", "count", "rows", "vocabulary", "ignore_index"],
    do_not_specialize_on_alignment=["positions", "labels", "sums", "scale"],
)
def finish(
    inputs: GradientInputs, positions, labels, sums, scale, results: Results, start, count, rows, vocabulary, weight_stride,
    ignore_index, terms: LossTerms, SIZES: tl.constexpr, SWITCHES: tl.constexpr,
):  # fmt: skip
    """Write loss, log-sum-exp and gradient of a chunk's rows to the places of their labels."""
    local = tl.program_id(0) * SIZES.rows + tl.arange(0, SIZES.rows)
    inside = local < count
    position = tl.load(positions + start + local, mask=inside, other=0)
    label = tl.load(labels + start + local, mask=inside, other=0)
    ignored = label == ignore_index
    outside = ((label < 0) | (label >= vocabulary)) & (label != ignore_index)
    label = tl.where(ignored | outside, 0, label)
    factor = tl.load(scale)

    reference = tl.load(sums + REFERENCE * rows + local, mask=inside, other=0.0)
    others = tl.load(sums + TOTAL * rows + local, mask=inside, other=1.0)
    label_logit = tl.load(sums + LABEL_LOGIT * rows + local, mask=inside, other=0.0)
    wrong = (reference + tl.log2(others) - label_logit) * LN_2  # log of the odds against the label
    tail = tl.exp(-tl.abs(wrong))
    series = tail * (1.0 - tail * (0.5 - tail * (0.33333334 - tail * 0.25)))
    tail = tl.where(tail < 0.01, series, tl.log(1.0 + tail))  # log(1 + tail)
    loss = tl.maximum(wrong, 0.0) + tail
    log_sum = tl.maximum(label_logit * LN_2, label_logit * LN_2 + wrong) + tail
    pull = 1.0 + 2.0 * terms.z_loss * log_sum
    if SWITCHES.smooths:
        spread = log_sum - tl.load(sums + LOGIT_TOTAL * rows + local, mask=inside, other=0.0) * LN_2 / vocabulary
        loss = (1.0 - terms.label_smoothing) * loss + terms.label_smoothing * spread
    loss = (loss + terms.z_loss * log_sum * log_sum) * factor
    loss = tl.where(ignored, 0.0, tl.where(outside, float("nan"), loss))
    if tl.program_id(1) == 0:
        tl.store(results.losses + position, loss, mask=inside)
        tl.store(results.log_sums + position, tl.where(ignored | outside, 0.0, log_sum), mask=inside)

    if SWITCHES.stores:
        inverse = 1.0 / (others + tl.exp2(label_logit - reference))
        miss = others * inverse  # 1 - p(label), exact where it is tiny
        label_pull = terms.label_smoothing - miss + (pull - 1.0) * (1.0 - miss)
        if SWITCHES.has_cap:
            label_pull *= tl.load(sums + LABEL_SLOPE * rows + local, mask=inside, other=0.0)
        inverse *= pull
        if SWITCHES.lift > 0:
            inverse *= 2.0**-SWITCHES.lift
        across = tl.program_id(1) * SIZES.columns + tl.arange(0, SIZES.columns)
        present = (across < SIZES.width)[None, :] & inside[:, None]
        product = tl.load(inputs.product + local[:, None] * SIZES.width + across[None, :], mask=present, other=0.0)
        weights = tl.load(inputs.weight + label[:, None] * weight_stride + across[None, :], mask=present, other=0.0)
        result = product * inverse[:, None] + weights.to(tl.float32) * label_pull[:, None]
        if SWITCHES.smooths:
            uniform = tl.load(inputs.column_sum + across, mask=across < SIZES.width, other=0.0)
            result -= uniform[None, :] * (terms.label_smoothing / vocabulary)
        result *= terms.logit_scale * factor
        result = tl.where(ignored[:, None], 0.0, tl.where(outside[:, None], float("nan"), result))
        gradient_at = results.gradient + position[:, None].to(tl.int64) * SIZES.width + across[None, :]
        tl.store(gradient_at, result.to(results.gradient.dtype.element_ty), mask=present)
