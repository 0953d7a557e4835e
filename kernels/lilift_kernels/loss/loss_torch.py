"""Linear cross-entropy in plain torch: chunks of rows against tiles of the vocabulary, never the full logits.

One sweep over the head gives a chunk's losses and its gradient. Following the online softmax (Milakov and Gimelshein, arXiv
1805.02867) and attention with keys = values = head (Dao et al., arXiv 2205.14135), a tile's exponentials multiply the tile
itself, and the running sum is rescaled whenever the running maximum grows. The label's own logit is not part of maximum, sum
and product. They then give the probability of a wrong token, so that the gradient of a row with a confident prediction keeps
its full relative precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.vocabulary_tiles import (
    Chunking,
    accumulation_type,
    add_product,
    bias_of,
    chunking,
    compact,
    product_type,
    softcap_slope,
    targets_of,
    tile_logits,
)


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, log-sum-exps and, with ``with_gradient``, the gradient of each loss by its own hidden state.

    Args:
        hidden: [M, D], any strides.
        weight: [V, D]; bias: [V] or None.
        labels: [N]; rows: [N], the row of ``hidden`` each label belongs to, or None for row i with label i (N == M).
        scale: a scalar that multiplies losses and gradients.

    Returns:
        losses [N] and log-sum-exps [N] in fp32 (fp64 for fp64 input), 0 where ignored; gradient [N, D] in the type of
        ``hidden``, or empty.

    Raises:
        IndexError: a label or a row is out of range (on a GPU a label out of range gives a loss of NaN instead).
    """
    accumulate = accumulation_type(hidden.dtype)
    losses = torch.zeros(labels.shape, dtype=accumulate, device=hidden.device)
    log_sums = torch.zeros_like(losses)
    gradient = hidden.new_zeros((labels.shape[0], hidden.shape[1]) if with_gradient else (0,))
    kept, sources = compact(labels, rows, options.ignore_index)
    cut = chunking(kept.shape[0], weight.shape[0], weight.shape[1], on_gpu=hidden.is_cuda)
    column_sum = _column_sum(weight, cut, accumulate) if with_gradient and _needs_column_sum(options) else None
    for chunk in cut.chunks(kept.shape[0]):
        index = kept[chunk]
        target = targets_of(labels[index], weight.shape[0], options.ignore_index)
        state = _sweep(
            hidden.index_select(0, sources[chunk]).to(product_type(hidden)),
            weight,
            bias,
            target.labels,
            cut,
            options,
            with_gradient=with_gradient,
        )
        loss = state.loss(options, weight.shape[0]) * scale
        losses[index] = target.mask_(loss, poison=True)
        log_sums[index] = target.mask_(state.log_sum())
        if with_gradient:
            rows_gradient = state.gradient(weight[target.labels].to(accumulate), column_sum, options, weight.shape[0])
            gradient[index] = target.mask_(rows_gradient.mul_(scale), poison=True).to(hidden.dtype)
            del rows_gradient
        del state  # frees its memory before the next chunk's
    return losses, log_sums, gradient


@dataclass
class _Softmax:
    """Running sums over the vocabulary for a chunk of R rows, without the label's column."""

    maximum: Tensor  # [R]
    total: Tensor  # [R] sum of exp(z - maximum)
    label_logit: Tensor  # [R]
    label_slope: Tensor  # [R] derivative of the capped by the plain logit, at the label
    logit_sum: Tensor  # [R] sum of all logits, the label's too (label smoothing)
    product: Tensor | None  # [R, D] sum of exp(z - maximum) * slope * w
    slope_product: Tensor | None  # [R, D] sum of slope * w (label smoothing under a softcap)

    def others(self) -> Tensor:
        return self.maximum + self.total.log()

    def log_sum(self) -> Tensor:
        return torch.logaddexp(self.others(), self.label_logit)

    def loss(self, options: LossOptions, vocabulary: int) -> Tensor:
        wrong = self.others() - self.label_logit
        loss = torch.logaddexp(wrong, torch.zeros_like(wrong))  # lse - z_y, exact where it is tiny
        if options.label_smoothing:
            spread = self.log_sum() - self.logit_sum / vocabulary
            loss = (1 - options.label_smoothing) * loss + options.label_smoothing * spread
        if options.z_loss:
            loss = loss + options.z_loss * self.log_sum().square()
        return loss

    def gradient(self, label_rows: Tensor, column_sum: Tensor | None, options: LossOptions, vocabulary: int) -> Tensor:
        """Gradient [R, D] of each row's loss by its hidden state; ``label_rows`` [R, D] are the head's rows of the labels."""
        assert self.product is not None
        log_sum = self.log_sum()
        pull = 1 + 2 * options.z_loss * log_sum  # d loss / d lse
        wrong = torch.sigmoid(self.others() - self.label_logit)  # 1 - p_y
        label_factor = options.label_smoothing - wrong + (pull - 1) * (1 - wrong)
        factor = pull / (self.total + torch.exp(self.label_logit - self.maximum))
        result = self.product * factor.unsqueeze(1)
        result += label_rows * (label_factor * self.label_slope).unsqueeze(1)
        if options.label_smoothing:
            uniform = column_sum if self.slope_product is None else self.slope_product
            assert uniform is not None
            result -= uniform * (options.label_smoothing / vocabulary)
        return result.mul_(options.logit_scale)


def _sweep(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    cut: Chunking,
    options: LossOptions,
    *,
    with_gradient: bool,
) -> _Softmax:
    """All tiles of the vocabulary for one chunk of rows [R, D]."""
    accumulate = accumulation_type(states.dtype)
    zeros = torch.zeros(states.shape[0], dtype=accumulate, device=states.device)

    def sums() -> Tensor:
        return torch.zeros(states.shape, dtype=accumulate, device=states.device)

    running = _Softmax(
        maximum=zeros - float("inf"),
        total=zeros.clone(),
        label_logit=zeros.clone(),
        label_slope=zeros + 1,
        logit_sum=zeros.clone(),
        product=sums() if with_gradient else None,
        slope_product=sums() if with_gradient and options.softcap is not None and options.label_smoothing else None,
    )
    for tile in cut.tiles(weight.shape[0]):
        _absorb(running, states, weight[tile].to(states.dtype), bias_of(bias, tile), labels - tile.start, options)
    return running


def _absorb(
    running: _Softmax, states: Tensor, columns: Tensor, bias: Tensor | None, position: Tensor, options: LossOptions
) -> None:
    """Add one tile of the head, ``columns`` [C, D]; ``position`` [R] is the label's place relative to the tile."""
    logits = tile_logits(states, columns, bias, options)  # [R, C]
    slope = None if running.product is None else softcap_slope(logits, options)
    if options.label_smoothing:
        running.logit_sum += logits.sum(1)
    _take_label_out(running, logits, slope, position)
    maximum = torch.maximum(running.maximum, logits.amax(1))
    reference = maximum.masked_fill(maximum == -float("inf"), 0.0)  # the label is the only logit so far
    shrink = torch.exp(running.maximum - reference)
    weights = logits.sub_(reference.unsqueeze(1)).exp_()
    running.total.mul_(shrink).add_(weights.sum(1))
    running.maximum = maximum
    if running.product is None:
        return
    if slope is not None:
        weights *= slope
        if running.slope_product is not None:
            add_product(running.slope_product, slope.to(columns.dtype), columns)
    running.product.mul_(shrink.unsqueeze(1))
    add_product(running.product, weights.to(columns.dtype), columns)


def _take_label_out(running: _Softmax, logits: Tensor, slope: Tensor | None, position: Tensor) -> None:
    """Store the label's logit and slope if the label is in this tile, and write -inf in its place."""
    inside = (position >= 0) & (position < logits.shape[1])
    column = position.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    found = logits.gather(1, column)
    running.label_logit = torch.where(inside, found.squeeze(1), running.label_logit)
    logits.scatter_(1, column, found.masked_fill(inside.unsqueeze(1), -float("inf")))
    if slope is not None:
        running.label_slope = torch.where(inside, slope.gather(1, column).squeeze(1), running.label_slope)


def _needs_column_sum(options: LossOptions) -> bool:
    return options.label_smoothing > 0 and options.softcap is None


def _column_sum(weight: Tensor, cut: Chunking, accumulate: torch.dtype) -> Tensor:
    """Sum of the head's rows [D]; label smoothing pushes every hidden state away from it."""
    total = torch.zeros(weight.shape[1], dtype=accumulate, device=weight.device)
    for tile in cut.tiles(weight.shape[0]):
        total += weight[tile].sum(0, dtype=accumulate)
    return total
