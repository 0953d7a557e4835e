"""Gradient of the loss by the head and its bias in plain torch, if they are trained: a second sweep over the head."""

from __future__ import annotations

import torch
from torch import Tensor

from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.vocabulary_tiles import (
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


def weight_gradient(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    log_sums: Tensor,
    upstream: Tensor,
    options: LossOptions,
) -> tuple[Tensor, Tensor]:
    """Gradient by the head [V, D] and by the bias [V] (empty without one), for a loss whose row i counts ``upstream[i]`` times.

    For each tile of the vocabulary the logits are computed a second time, and the saved ``log_sums`` give their softmax. The
    tile of the gradient is complete after every chunk of rows.
    """
    accumulate = accumulation_type(hidden.dtype)
    gradient = torch.empty_like(weight, memory_format=torch.contiguous_format)
    bias_gradient = weight.new_empty(weight.shape[0] if bias is not None else 0)
    kept, sources = compact(labels, rows, options.ignore_index)
    cut = chunking(kept.shape[0], weight.shape[0], weight.shape[1], on_gpu=hidden.is_cuda)
    if kept.shape[0] == 0:
        return gradient.zero_(), bias_gradient.zero_()
    # A GPU multiplies errors as 16-bit numbers. The size of the upstream gradient (for example a loss scale) would leave their
    # range, so the last step multiplies it in.
    largest = upstream.abs().amax().clamp_min(torch.finfo(accumulate).tiny)
    factors = upstream / largest * options.logit_scale
    for tile in cut.tiles(weight.shape[0]):
        columns = weight[tile].to(product_type(hidden))
        total = torch.zeros(columns.shape, dtype=accumulate, device=hidden.device)  # [C, D]
        bias_total = total.new_zeros(columns.shape[0])
        for chunk in cut.chunks(kept.shape[0]):
            index = kept[chunk]
            target = targets_of(labels[index], weight.shape[0], options.ignore_index)
            states = hidden.index_select(0, sources[chunk]).to(columns.dtype)
            error = _logit_errors(
                tile_logits(states, columns, bias_of(bias, tile), options),
                log_sums[index].unsqueeze(1),
                (target.labels - tile.start).unsqueeze(1),
                options,
                weight.shape[0],
            )
            error *= target.mask_(factors[index], poison=True).unsqueeze(1)
            add_product(total, error.t().to(states.dtype), states)
            bias_total += error.sum(0)
            del states, error
        gradient[tile] = total.mul_(largest).to(gradient.dtype)
        if bias is not None:
            bias_gradient[tile] = bias_total.mul_(largest).to(bias_gradient.dtype)
        del columns, total
    return gradient, bias_gradient


def _logit_errors(logits: Tensor, log_sum: Tensor, position: Tensor, options: LossOptions, vocabulary: int) -> Tensor:
    """Derivative [R, C] of each row's loss by the plain logits of one tile; overwrites ``logits``.

    ``log_sum`` and ``position`` are [R, 1], the position relative to the tile.
    """
    slope = softcap_slope(logits, options)
    error = logits.sub_(log_sum).exp_().mul_(1 + 2 * options.z_loss * log_sum)
    error -= options.label_smoothing / vocabulary
    inside = (position >= 0) & (position < error.shape[1])
    pull = inside.to(error.dtype) * (options.label_smoothing - 1)
    error.scatter_add_(1, position.clamp(0, error.shape[1] - 1), pull)
    return error if slope is None else error.mul_(slope)
