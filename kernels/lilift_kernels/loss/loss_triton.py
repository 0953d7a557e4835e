"""Linear cross-entropy in Triton: loss and gradient in one pass of 4·N·V·D operations, no logits kept, no atomics.

For a chunk of rows and a tile of the vocabulary (keys = values = head, as in attention):

1. ``exponentials``: the tile's logits, and from them ``2 ** (z * log2(e) - k)`` in 16 bits, where ``k`` is the block's maximum
   rounded up to a whole number, with the block's sum in fp32. The label's own logit is not in the sum and is stored separately.
2. ``merge``: the running maximum and sum. It turns each ``k`` into a factor ``2 ** (k - maximum)``. Because ``k`` is whole, the
   factor is a power of two, so rescaling rounds neither the 16-bit operand of the next product nor the running sums.
3. ``accumulate``: exponentials times head, added to the running sums in fp32.

After the last tile ``finish`` writes loss, log-sum-exp and gradient. One program writes each value, in one order, so results
repeat bit for bit. The programs read on the GPU how many rows carry loss, and those without such rows return at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import triton
from torch import Tensor

from lilift_kernels import autotuning
from lilift_kernels.kernel_arguments import product_block
from lilift_kernels.loss.loss_arguments import (
    AccumulateSizes,
    FinishSizes,
    GradientInputs,
    LabelTerms,
    LogitInputs,
    LogitScales,
    LogitStrides,
    LossTerms,
    MergeSizes,
    Partial,
    Place,
    ProductStrides,
    Results,
    Running,
    Switches,
    Totals,
)
from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.loss_triton_kernels import FLOOR, accumulate, exponentials, finish, merge
from lilift_kernels.tiles import CANDIDATES, FEW_ROWS, Blocks, LossPlan, card, loss_plan

LOG2_E = math.log2(math.e)
MERGE_ROWS = 16
MERGED = 32  # exponents of blocks that one thread of ``merge`` holds in its registers
FINISH_ROWS, FINISH_COLUMNS = 8, 512
FP16_LIFT = 14  # exponentials in fp16 are stored times 2 ** 14, so that small ones keep their digits


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
    """The same as in the torch path, for fp32, bf16 and fp16, but without label smoothing under a softcap.

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
        again = partial(losses_and_gradient, hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient)
        capped = options.softcap is not None
        plan = _plan(hidden, weight, number, lambda plan: again(plan=plan), with_gradient=with_gradient, capped=capped)
    chunk = _Chunk(plan, hidden, weight, bias, labels, _compact(labels, rows, options.ignore_index), options, with_gradient)
    for start in range(0, number, plan.chunk_rows):
        chunk.begin(start, min(plan.chunk_rows, number - start))
        for tile in range(0, vocabulary, plan.tile_columns):
            chunk.add(tile)
        chunk.finish(scale, losses, log_sums, gradient)
    return losses, log_sums, gradient


def _plan(
    hidden: Tensor, weight: Tensor, number: int, run: Callable[[LossPlan], object], *, with_gradient: bool, capped: bool
) -> LossPlan:
    """The table's cut for ``number`` labels; with autotuning the cut with the blocks for which ``run`` is fastest."""
    (vocabulary, width), size = weight.shape, hidden.element_size()
    work = (*card(hidden.device), number, vocabulary, width, size)

    def cut(logits: Blocks | None = None, gradient: Blocks | None = None) -> LossPlan:
        return loss_plan(*work, with_gradient=with_gradient, capped=capped, logits=logits, gradient=gradient)

    plan = cut()
    if not autotuning.enabled():
        return plan
    shape = (size, vocabulary, width, int(with_gradient), int(capped), int(number <= FEW_ROWS))
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


@dataclass(frozen=True)
class _Compacted:
    """The positions that carry loss, in their order; only the GPU knows how many there are."""

    sources: Tensor  # [N] rows of ``hidden``
    positions: Tensor  # [N] places in ``labels``
    count: Tensor  # [1]


class _Chunk:
    """The buffers of one chunk of rows, and the launches over them; every chunk uses the same buffers."""

    def __init__(
        self,
        plan: LossPlan,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        rows: _Compacted,
        options: LossOptions,
        with_gradient: bool,
    ) -> None:
        self.plan, self.options, self.with_gradient = plan, options, with_gradient
        self.inputs, self.labels, self.rows = LogitInputs(hidden, weight, bias), labels, rows
        self.vocabulary, self.width = weight.shape
        # A whole number of every kernel's blocks of rows, so that reads and writes here need no mask.
        capacity = plan.capacity(labels.shape[0])
        self.blocks = blocks = plan.tile_columns // plan.logits.columns
        smooths = options.label_smoothing > 0

        def buffer(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=hidden.device)

        self.partial = Partial(
            exponents=buffer(blocks, capacity),
            sums=buffer(blocks, capacity),
            logit_sums=buffer(blocks if smooths else 0, capacity),
        )
        maximum, total, shrink = buffer(capacity), buffer(capacity), buffer(capacity)
        logit_total, label_logits, label_slopes = buffer(3, capacity).unbind()
        self.running = Running(maximum, total, shrink, logit_total)
        self.label_terms = LabelTerms(label_logits, label_slopes)
        self.powers = buffer(capacity, plan.tile_columns if with_gradient else 0, dtype=hidden.dtype)
        self.strides = LogitStrides(capacity, hidden.stride(0), weight.stride(0), self.powers.stride(0))
        self.product = buffer(capacity if with_gradient else 0, self.width)
        self.column_sum = weight.sum(0, dtype=torch.float32) if smooths and with_gradient else None
        lift = FP16_LIFT if hidden.dtype == torch.float16 else 0
        self.switches = Switches(has_cap=options.softcap is not None, smooths=smooths, stores=with_gradient, lift=lift)

    def begin(self, start: int, rows: int) -> None:
        self.start, self.count = start, rows
        self.running.maximum.fill_(FLOOR.value)
        for tensor in (self.running.total, self.running.logit_total, self.label_terms.logits):
            tensor.zero_()

    def add(self, tile: int) -> None:
        """Add the columns of the head that begin at ``tile`` to the running sums."""
        logits, gradient = self.plan.logits, self.plan.gradient
        place, strides = Place(self.start, tile, self.vocabulary), self.strides
        element, on_gpu = self.powers.dtype, self.powers.is_cuda
        row_blocks, padded = triton.cdiv(self.count, logits.rows), triton.next_power_of_2(self.blocks)
        exponentials[(row_blocks * self.blocks,)](
            self.inputs, self.rows.sources, self.rows.positions, self.labels, self.rows.count,
            self.powers, self.partial, self.label_terms, place, row_blocks, strides, self._scales(),
            WIDTH=self.width, HAS_BIAS=self.inputs.bias is not None, SWITCHES=self.switches,
            BLOCK=product_block(logits, element, on_gpu=on_gpu), num_warps=logits.warps, num_stages=logits.stages,
        )  # fmt: skip
        merge[(triton.cdiv(self.count, MERGE_ROWS),)](
            self.partial, self.rows.count, self.running, self.start, strides.partial,
            SIZES=MergeSizes(self.blocks, padded, MERGE_ROWS), SMOOTHS=self.switches.smooths,
            num_warps=max(4, padded * MERGE_ROWS // (32 * MERGED)),
        )  # fmt: skip
        if not self.with_gradient:
            return
        row_blocks = triton.cdiv(self.count, gradient.rows)
        accumulate[(row_blocks * triton.cdiv(self.width, gradient.columns),)](
            self.powers, self.inputs.weight, self.partial.exponents, self.running.shrink, self.product, self.rows.count,
            place, row_blocks, ProductStrides(strides.partial, strides.weight, strides.powers),
            SIZES=AccumulateSizes(self.width, self.plan.tile_columns, logits.columns),
            BLOCK=product_block(gradient, element, on_gpu=on_gpu), num_warps=gradient.warps, num_stages=gradient.stages,
        )  # fmt: skip

    def finish(self, scale: Tensor, losses: Tensor, log_sums: Tensor, gradient: Tensor) -> None:
        options, running = self.options, self.running
        grid = (triton.cdiv(self.count, FINISH_ROWS), triton.cdiv(self.width, FINISH_COLUMNS) if self.with_gradient else 1)
        finish[grid](
            GradientInputs(self.product, self.inputs.weight, self.column_sum),
            self.rows.positions, self.labels, self.rows.count, scale,
            Totals(running.maximum, running.total, running.logit_total), self.label_terms,
            Results(losses, log_sums, gradient), self.start, self.vocabulary, self.strides.weight,
            options.ignore_index, LossTerms(float(options.logit_scale), float(options.label_smoothing), float(options.z_loss)),
            SIZES=FinishSizes(self.width, FINISH_ROWS, FINISH_COLUMNS), SWITCHES=self.switches,
        )  # fmt: skip

    def _scales(self) -> LogitScales:
        if self.options.softcap is None:
            return LogitScales(self.options.logit_scale * LOG2_E, 1.0)
        return LogitScales(self.options.logit_scale / self.options.softcap, self.options.softcap * LOG2_E)


def _compact(labels: Tensor, rows: Tensor | None, ignore_index: int) -> _Compacted:
    """The positions that carry loss, found without waiting for the GPU. A caller's ``rows`` leave out the ignored ones."""
    order = torch.arange(labels.shape[0], device=labels.device)
    if rows is not None:
        return _Compacted(rows, order, torch.full((1,), labels.shape[0], dtype=torch.int64, device=labels.device))
    valid = labels != ignore_index
    place = valid.cumsum(0)
    kept = torch.zeros(labels.shape[0] + 1, dtype=torch.int64, device=labels.device)
    kept.scatter_(0, torch.where(valid, place - 1, labels.shape[0]), order)  # the ignored ones share the last, unread place
    return _Compacted(kept, kept, place[-1:])
