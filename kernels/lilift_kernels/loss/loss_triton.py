"""Linear cross-entropy on a GPU: the library's matrix products, and between them one Triton kernel; no logits kept, no atomics.

For a chunk of rows the launcher walks over the vocabulary in slices (keys = values = head, as in attention):

1. The library multiplies: logits of the slice, in fp32.
2. ``exponentials`` turns each row's logits, in place, into ``2 ** (z * log2(e) - reference)`` in 16 bits, and adds them to the
   row's sum in fp32. The reference is the row's largest logit so far. A wrong token that takes nearly all the probability
   therefore has an exponential of one, which 16 bits hold exactly; a reference rounded to a whole power of two would give it
   a rounding error of its own. Where the reference grows by more than a factor of two, the older sums are rescaled in fp32.
   The label's own logit is not in the sum and is stored separately.
3. The library adds exponentials times slice to the running sums in fp32.

After the last slice ``finish`` writes loss, log-sum-exp and gradient. These are 4·N·V·D operations at the library's rate, on
every card. One program writes each value, in one order, so results repeat bit for bit. The sizes of the products must be known
on the CPU. If the caller does not say which rows carry loss, the launcher therefore waits for the GPU once, to count them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
import triton
from torch import Tensor

from lilift_kernels import autotuning
from lilift_kernels.loss.loss_arguments import (
    FinishSizes,
    GradientInputs,
    LogitScales,
    LossTerms,
    Results,
    Slice,
    SliceSizes,
    Switches,
)
from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.loss_triton_kernels import exponentials, finish
from lilift_kernels.tiles import CANDIDATE_ROWS, ROW_SUMS, LossCut, loss_cut

LOG2_E = math.log2(math.e)
ELEMENTS_PER_WARP = 512  # of a row: 16 to each thread; with 32, some launches spill registers
MOST_WARPS = 16
RESCALED = 1024  # sums that a program rescales at a time
FINISH_ROWS, FINISH_COLUMNS = 8, 512
FP16_LIFT = 14  # exponentials, which are at most two, are stored in fp16 times 2 ** 14, so that small ones keep their digits


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
    cut: LossCut | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as in the torch path, for fp32, bf16 and fp16, but without label smoothing under a softcap.

    ``cut`` replaces the table's choice.
    """
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    number, (vocabulary, width) = labels.shape[0], weight.shape
    losses = torch.zeros(number, dtype=torch.float32, device=hidden.device)
    log_sums = torch.zeros_like(losses)
    gradient_shape = (number, width) if with_gradient else (0,)
    gradient = hidden.new_zeros(gradient_shape) if rows is None else hidden.new_empty(gradient_shape)
    kept = _kept(labels, rows, options.ignore_index)
    count = kept.labels.shape[0]
    if count == 0:
        return losses, log_sums, gradient
    if cut is None:
        again = partial(losses_and_gradient, hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient)
        cut = autotuning.fastest(
            "loss",
            (hidden.element_size(), vocabulary, width, int(with_gradient), count.bit_length()),
            hidden.device,
            loss_cut(count, vocabulary, width, with_gradient=with_gradient),
            [loss_cut(count, vocabulary, width, with_gradient=with_gradient, most_rows=most) for most in CANDIDATE_ROWS],
            lambda cut: again(cut=cut),
        )
    sweep = _Sweep(cut, weight, bias, count, options, with_gradient=with_gradient)
    # The states of a chunk are gathered into the gradient's memory for rows `start` and up, and `finish` overwrites them. Rows
    # move up only, from `start` to positions at or above it, so the chunks go from the last to the first.
    for start in reversed(range(0, count, cut.rows)):
        rows_here = min(cut.rows, count - start)
        states = gradient.narrow(0, start, rows_here) if with_gradient else hidden.new_empty(rows_here, width)
        torch.index_select(hidden, 0, kept.sources.narrow(0, start, rows_here), out=states)
        sweep.over(states, kept.labels.narrow(0, start, rows_here))
        if with_gradient and rows is None:
            states.zero_()  # rows of ignored positions
        sweep.finish(start, kept, scale, Results(losses, log_sums, gradient))
    return losses, log_sums, gradient


@dataclass(frozen=True)
class _Kept:
    """The K positions that carry loss, in their order."""

    sources: Tensor  # [K] rows of ``hidden``
    positions: Tensor  # [K] places in ``labels``, ascending
    labels: Tensor  # [K]


def _kept(labels: Tensor, rows: Tensor | None, ignore_index: int) -> _Kept:
    """Leave out ignored positions. A caller that gives ``rows`` has left them out; a graph that is captured keeps them all."""
    order = torch.arange(labels.shape[0], device=labels.device)
    if rows is not None:
        return _Kept(rows, order, labels)
    if labels.is_cuda and torch.cuda.is_current_stream_capturing():
        return _Kept(order, order, labels)
    kept = (labels != ignore_index).nonzero().squeeze(1)
    return _Kept(kept, kept, labels[kept])


class _Sweep:
    """The buffers of one chunk of rows, and the products and launches over them; every chunk uses the same buffers."""

    def __init__(
        self, cut: LossCut, weight: Tensor, bias: Tensor | None, count: int, options: LossOptions, *, with_gradient: bool
    ) -> None:
        self.columns, self.weight, self.bias, self.options, self.with_gradient = (
            cut.columns,
            weight,
            bias,
            options,
            with_gradient,
        )
        self.vocabulary, self.width = weight.shape
        rows = min(cut.rows, count)
        device, smooths = weight.device, options.label_smoothing > 0
        self.memory = torch.empty(rows * cut.columns, dtype=torch.float32, device=device)
        self.product = torch.empty(rows if with_gradient else 0, self.width, dtype=torch.float32, device=device)
        self.sums = torch.empty(ROW_SUMS, rows, dtype=torch.float32, device=device)
        self.column_sum = weight.sum(0, dtype=torch.float32) if smooths and with_gradient else None
        self.switches = Switches(
            has_bias=bias is not None,
            has_cap=options.softcap is not None,
            smooths=smooths,
            stores=with_gradient,
            lift=FP16_LIFT if weight.dtype == torch.float16 else 0,
        )

    def over(self, states: Tensor, labels: Tensor) -> None:
        """All slices of the head for a chunk of ``states`` [R, D] with ``labels`` [R]."""
        product = self.product.narrow(0, 0, states.shape[0]) if self.with_gradient else self.product
        views: dict[int, tuple[Tensor, Tensor]] = {}  # of a slice, and of the last one: the host should not make them each time
        for first in range(0, self.vocabulary, self.columns):
            columns = min(self.columns, self.vocabulary - first)
            part = self.weight.narrow(0, first, columns)
            if columns not in views:
                views[columns] = self._views(states.shape[0], columns)
            logits, powers = views[columns]
            multiply(states, part.t(), logits)
            self._exponentials(logits, powers, labels, first)
            if self.with_gradient:
                multiply(powers, part, product, adds=first > 0)
        self.labels, self.count = labels, states.shape[0]

    def finish(self, start: int, kept: _Kept, scale: Tensor, results: Results) -> None:
        """Write the results of the chunk that begins at ``start``."""
        options = self.options
        across = triton.cdiv(self.width, FINISH_COLUMNS) if self.with_gradient else 1
        finish[triton.cdiv(self.count, FINISH_ROWS), across](
            GradientInputs(self.product, self.weight, self.column_sum), kept.positions, kept.labels, self.sums, scale, results,
            start, self.count, self.sums.shape[1], self.vocabulary, self.weight.stride(0), options.ignore_index,
            LossTerms(float(options.logit_scale), float(options.label_smoothing), float(options.z_loss)),
            SIZES=FinishSizes(self.width, FINISH_ROWS, FINISH_COLUMNS), SWITCHES=self.switches,
        )  # fmt: skip

    def _views(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Logits [R, C] in fp32, and powers [R, C] in the operands' type in the first bytes of each row of logits."""
        memory = self.memory.narrow(0, 0, rows * columns).view(rows, columns)
        return memory, memory.view(self.weight.dtype).narrow(1, 0, columns)

    def _exponentials(self, logits: Tensor, powers: Tensor, labels: Tensor, first: int) -> None:
        (rows, columns), padded = logits.shape, triton.next_power_of_2(logits.shape[1])
        exponentials[(rows,)](
            Slice(logits, powers, self.bias), labels, self.sums, self.product, first, columns, self.sums.shape[1],
            self._scales(),
            SIZES=SliceSizes(padded, powers.stride(0) // columns, self.width, RESCALED), SWITCHES=self.switches,
            num_warps=min(MOST_WARPS, max(4, padded // ELEMENTS_PER_WARP)),
        )  # fmt: skip

    def _scales(self) -> LogitScales:
        if self.options.softcap is None:
            return LogitScales(self.options.logit_scale * LOG2_E, 1.0)
        return LogitScales(self.options.logit_scale / self.options.softcap, self.options.softcap * LOG2_E)


def multiply(left: Tensor, right: Tensor, out: Tensor, *, adds: bool = False) -> None:
    """``left @ right`` in fp32 into ``out``, or onto it. Only a GPU's library multiplies 16-bit numbers into fp32."""
    if left.dtype == out.dtype:
        torch.addmm(out, left, right, out=out) if adds else torch.mm(left, right, out=out)
    elif left.is_cuda:
        if adds:
            torch.addmm(out, left, right, out_dtype=out.dtype, out=out)
        else:
            torch.mm(left, right, out_dtype=out.dtype, out=out)
    else:
        product = left.to(out.dtype) @ right.to(out.dtype)
        out.add_(product) if adds else out.copy_(product)
