# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False
"""Linear cross-entropy in Triton: loss and gradient in one pass of 4·N·V·D operations, no logits kept, no atomics.

For a chunk of rows and a tile of the vocabulary (keys = values = head, as in attention):

1. ``exponentials``: the tile's logits, and from them ``2 ** (z * log2(e) - k)`` in 16 bits, where ``k`` is the block's maximum
   rounded up to a whole number, with the block's sum in fp32. The label's own logit is left out and kept apart.
2. ``merge``: the running maximum and sum; the ``k`` become factors ``2 ** (k - maximum)``. Whole numbers make them powers of
   two, so rescaling rounds nothing: neither the 16-bit operand of the next product nor the running sums.
3. ``accumulate``: exponentials times head, added to the running sums in fp32.

After the last tile ``finish`` writes loss, log-sum-exp and gradient. Every value is written by one program in one order, so
results repeat bit for bit. How many rows carry loss is read on the GPU, by programs that leave at once where there are none.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from lilift_kernels import autotuning
from lilift_kernels.loss_options import LossOptions
from lilift_kernels.tiles import CANDIDATES, FEW_ROWS, Blocks, LossPlan, card, loss_plan

LOG2_E = math.log2(math.e)
FLOOR = tl.constexpr(-1e30)  # the exponent of nothing: finite, so that differences stay numbers
LN_2 = tl.constexpr(math.log(2.0))
MERGE_ROWS = 16
FINISH_ROWS, FINISH_COLUMNS = 8, 512
FP16_LIFT = 14  # exponentials in fp16 are stored times 2 ** 14, so that small ones keep their digits


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
        bounded = (1.0 - halved) / (1.0 + halved)
        slope = 1.0 - bounded * bounded
        logits = tl.where(logits < 0.0, -bounded, bounded) * outer_scale
    # Logits are in units of log 2 from here on.
    existing = (columns < vocabulary)[None, :]
    if SMOOTHS:
        tl.store(logit_sums + column_block * capacity + local, tl.sum(tl.where(existing, logits, 0.0), 1))
    position = tl.load(positions + chunk_start + local, mask=inside, other=0)
    label = tl.load(labels + position, mask=inside, other=-1)
    label = tl.where((label >= 0) & (label < vocabulary), label, -1).to(tl.int32)
    here = (label >= first) & (label < first + BLOCK_COLUMNS)
    hit = columns[None, :] == label[:, None]
    tl.store(label_logits + local, tl.sum(tl.where(hit, logits, 0.0), 1), mask=here)
    if HAS_CAP:
        tl.store(label_slopes + local, tl.sum(tl.where(hit, slope, 0.0), 1), mask=here)
    logits = tl.where(existing & (columns[None, :] != label[:, None]), logits, -float("inf"))
    exponent = tl.maximum(tl.ceil(tl.max(logits, 1)), FLOOR)
    power = tl.exp2(logits - exponent[:, None])
    tl.store(exponents + column_block * capacity + local, exponent)
    tl.store(sums + column_block * capacity + local, tl.sum(power, 1))
    if STORES:
        if HAS_CAP:
            power *= slope
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


def losses_and_gradient(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    scale: Tensor,
    options: LossOptions,
    *,
    with_gradient: bool,
    plan: LossPlan | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As in the torch path, for fp32, bf16 and fp16, and not for label smoothing under a softcap.

    ``plan`` replaces the table's choice.
    """
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    number, (vocabulary, width) = labels.shape[0], weight.shape
    losses = torch.zeros(number, dtype=torch.float32, device=hidden.device)
    log_sums = torch.zeros_like(losses)
    gradient_shape = (number, width) if with_gradient else (0,)
    gradient = hidden.new_zeros(gradient_shape) if rows is None else hidden.new_empty(gradient_shape)
    if number == 0:
        return losses, log_sums, gradient
    if plan is None:
        plan = _plan(hidden, weight, bias, labels, rows, scale, options, with_gradient)
    sources, positions, count = _compact(labels, rows, options.ignore_index)
    chunk = _Chunk(plan, hidden, weight, bias, labels, sources, positions, count, options, with_gradient)
    for start in range(0, number, plan.chunk_rows):
        chunk.begin(start, min(plan.chunk_rows, number - start))
        for tile in range(0, vocabulary, plan.tile_columns):
            chunk.add(tile)
        chunk.finish(scale, losses, log_sums, gradient)
    return losses, log_sums, gradient


def _plan(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    scale: Tensor,
    options: LossOptions,
    with_gradient: bool,
) -> LossPlan:
    """The table's cut; with autotuning that of the blocks which are fastest on these arguments."""
    number, (vocabulary, width), size = labels.shape[0], weight.shape, hidden.element_size()

    def cut(logits: Blocks | None = None, gradient: Blocks | None = None) -> LossPlan:
        where = card(hidden.device)
        return loss_plan(*where, number, vocabulary, width, size, with_gradient=with_gradient, logits=logits, gradient=gradient)

    plan = cut()
    if not autotuning.enabled():
        return plan

    def run(plan: LossPlan) -> None:
        losses_and_gradient(hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient, plan=plan)

    shape = (size, vocabulary, width, int(with_gradient), int(number <= FEW_ROWS))
    candidates = CANDIDATES[size]
    logits = autotuning.fastest(
        "loss, logits", shape, hidden.device, plan.logits, candidates, lambda blocks: run(cut(blocks, plan.gradient))
    )
    if not with_gradient:
        return cut(logits)
    gradient = autotuning.fastest(
        "loss, gradient", shape, hidden.device, plan.gradient, candidates, lambda blocks: run(cut(logits, blocks))
    )
    return cut(logits, gradient)


class _Chunk:
    """The buffers of one chunk of rows, and the launches over them; used for chunk after chunk."""

    def __init__(
        self,
        plan: LossPlan,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        sources: Tensor,
        positions: Tensor,
        count: Tensor,
        options: LossOptions,
        with_gradient: bool,
    ) -> None:
        self.plan, self.options, self.with_gradient = plan, options, with_gradient
        self.hidden, self.weight, self.bias, self.labels = hidden, weight, bias, labels
        self.sources, self.positions, self.count = sources, positions, count
        self.vocabulary, self.width = weight.shape
        # A whole number of every kernel's blocks of rows: what is written and read here needs no mask.
        self.capacity = plan.capacity(labels.shape[0])
        self.blocks = blocks = plan.tile_columns // plan.logits.columns
        smooths = options.label_smoothing > 0

        def buffer(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=hidden.device)

        self.exponents, self.sums = buffer(blocks, self.capacity), buffer(blocks, self.capacity)
        self.logit_sums = buffer(blocks if smooths else 0, self.capacity)
        self.maximum, self.total, self.shrink = buffer(self.capacity), buffer(self.capacity), buffer(self.capacity)
        self.logit_total, self.label_logits, self.label_slopes = buffer(3, self.capacity).unbind()
        self.powers = buffer(self.capacity, plan.tile_columns if with_gradient else 0, dtype=hidden.dtype)
        self.product = buffer(self.capacity if with_gradient else 0, self.width)
        self.column_sum = weight.sum(0, dtype=torch.float32) if smooths and with_gradient else None
        self.switches = {
            "HAS_CAP": options.softcap is not None,
            "SMOOTHS": smooths,
            "STORES": with_gradient,
            "LIFT": FP16_LIFT if hidden.dtype == torch.float16 else 0,
        }
        self.precision = _precision(hidden.dtype)
        # Triton's interpreter multiplies bf16 wrongly; on a GPU the matrix units widen by themselves.
        self.widens = not hidden.is_cuda

    def begin(self, start: int, rows: int) -> None:
        self.start, self.rows = start, rows
        self.maximum.fill_(FLOOR.value)
        for tensor in (self.total, self.logit_total, self.label_logits):
            tensor.zero_()

    def add(self, tile: int) -> None:
        """Take the head's columns from ``tile`` on into the running sums."""
        logits, gradient = self.plan.logits, self.plan.gradient
        inner, outer = self._scales()
        row_blocks = triton.cdiv(self.rows, logits.rows)
        exponentials[(row_blocks * self.blocks,)](
            self.hidden, self.weight, self.bias, self.sources, self.positions, self.labels, self.count,
            self.powers, self.exponents, self.sums, self.logit_sums, self.label_logits, self.label_slopes,
            self.start, tile, self.vocabulary, row_blocks, self.capacity,
            self.hidden.stride(0), self.weight.stride(0), self.powers.stride(0), inner, outer,
            WIDTH=self.width, BLOCK_ROWS=logits.rows, BLOCK_COLUMNS=logits.columns, BLOCK_DEPTH=logits.depth,
            HAS_BIAS=self.bias is not None, PRECISION=self.precision, WIDENS=self.widens, **self.switches,
            num_warps=logits.warps, num_stages=logits.stages,
        )  # fmt: skip
        merge[(triton.cdiv(self.rows, MERGE_ROWS),)](
            self.exponents, self.sums, self.logit_sums, self.count,
            self.maximum, self.total, self.shrink, self.logit_total, self.start, self.capacity,
            BLOCKS=self.blocks, BLOCKS_PADDED=triton.next_power_of_2(self.blocks), ROWS=MERGE_ROWS,
            SMOOTHS=self.switches["SMOOTHS"],
        )  # fmt: skip
        if not self.with_gradient:
            return
        row_blocks = triton.cdiv(self.rows, gradient.rows)
        accumulate[(row_blocks * triton.cdiv(self.width, gradient.columns),)](
            self.powers, self.weight, self.exponents, self.shrink, self.product, self.count,
            self.start, tile, self.vocabulary, row_blocks, self.capacity, self.weight.stride(0), self.powers.stride(0),
            WIDTH=self.width, TILE=self.plan.tile_columns, FACTOR_COLUMNS=logits.columns,
            BLOCK_ROWS=gradient.rows, BLOCK_COLUMNS=gradient.columns, BLOCK_DEPTH=gradient.depth,
            PRECISION=self.precision, WIDENS=self.widens,
            num_warps=gradient.warps, num_stages=gradient.stages,
        )  # fmt: skip

    def finish(self, scale: Tensor, losses: Tensor, log_sums: Tensor, gradient: Tensor) -> None:
        options = self.options
        grid = (triton.cdiv(self.rows, FINISH_ROWS), triton.cdiv(self.width, FINISH_COLUMNS) if self.with_gradient else 1)
        finish[grid](
            self.product, self.weight, self.column_sum, self.positions, self.labels, self.count, scale,
            self.maximum, self.total, self.logit_total, self.label_logits, self.label_slopes,
            losses, log_sums, gradient, self.start, self.vocabulary, self.weight.stride(0),
            options.ignore_index, float(options.logit_scale), float(options.label_smoothing), float(options.z_loss),
            WIDTH=self.width, ROWS=FINISH_ROWS, COLUMNS=FINISH_COLUMNS, **self.switches,
        )  # fmt: skip

    def _scales(self) -> tuple[float, float]:
        """What a plain logit, and the tanh under a softcap, is multiplied by to come out in units of log 2."""
        if self.options.softcap is None:
            return self.options.logit_scale * LOG2_E, 1.0
        return self.options.logit_scale / self.options.softcap, self.options.softcap * LOG2_E


def _compact(labels: Tensor, rows: Tensor | None, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of ``hidden`` [N], places of labels [N], and how many count [1], first ones first; no waiting for the GPU."""
    order = torch.arange(labels.shape[0], device=labels.device)
    if rows is not None:
        return rows, order, torch.full((1,), labels.shape[0], dtype=torch.int64, device=labels.device)
    valid = labels != ignore_index
    place = valid.cumsum(0)
    kept = torch.zeros(labels.shape[0] + 1, dtype=torch.int64, device=labels.device)
    kept.scatter_(0, torch.where(valid, place - 1, labels.shape[0]), order)  # the ignored ones share the last, unread place
    return kept, kept, place[-1:]


def _precision(dtype: torch.dtype) -> str:
    """How fp32 operands are multiplied: exactly, unless the user has allowed torch to use TF32."""
    return "ieee" if dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest" else "tf32"
