"""Cross-entropy of a linear head without its logits: ``cross_entropy(hidden @ weight.T, labels)`` in memory free of V.

One sweep over the head computes the loss and the gradient of the hidden states (4·N·V·D operations with a frozen head). It
computes nothing for ignored positions. A head that is trained gets its gradient in a second sweep, during backward.
"""

from __future__ import annotations

from typing import Literal, cast, overload

import torch
from torch import Tensor

from lilift_kernels import dispatch, tiles
from lilift_kernels.loss.loss_operators import LinearCrossEntropy
from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.vocabulary_tiles import accumulation_type, chunking

Reduction = Literal["mean", "sum", "none"]
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@overload
def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    rows: Tensor | None = ...,
    bias: Tensor | None = ...,
    ignore_index: int = ...,
    reduction: Reduction = ...,
    softcap: float | None = ...,
    logit_scale: float = ...,
    label_smoothing: float = ...,
    z_loss: float = ...,
    num_items: int | Tensor | None = ...,
    return_lse: Literal[False] = ...,
) -> Tensor: ...


@overload
def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    rows: Tensor | None = ...,
    bias: Tensor | None = ...,
    ignore_index: int = ...,
    reduction: Reduction = ...,
    softcap: float | None = ...,
    logit_scale: float = ...,
    label_smoothing: float = ...,
    z_loss: float = ...,
    num_items: int | Tensor | None = ...,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    rows: Tensor | None = None,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    softcap: float | None = None,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    num_items: int | Tensor | None = None,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Cross-entropy between labels and the logits ``hidden @ weight.T + bias``, without storing all logits.

    Args:
        hidden: [..., D] hidden states, any strides; fp16, bf16, fp32 or fp64. Under autocast it is cast as ``F.linear`` casts.
        weight: [V, D], the head, same type. A gradient is computed for it only if it requires one.
        labels: token numbers; shaped as ``hidden`` without its last dimension, or [N] when ``rows`` is given.
        rows: [N], for a caller that has already left out the ignored positions: label i belongs to row ``rows[i]`` of
            ``hidden`` seen as [M, D]. The rows must differ from one another. Nothing then depends on the labels' values:
            fake tensors have fixed shapes, and the call does not wait for a GPU. Without ``rows`` it waits once, to count the
            labels. A label of ``ignore_index`` still adds nothing to the loss, but its row costs time.
        bias: [V] or None.
        ignore_index: the label of positions that carry no loss.
        reduction: ``mean`` over the positions that are not ignored, ``sum``, or ``none``: one loss per label, 0 where ignored.
        softcap, logit_scale, label_smoothing, z_loss: the terms of :class:`~lilift_kernels.loss.loss_options.LossOptions`.
        num_items: with ``mean``, the number to divide by instead of the count of labels here. If this call is one micro-batch
            of several, give the count of the whole optimizer step. An int, or a scalar tensor on any device.
        return_lse: return ``(loss, lse)``; ``lse`` are the log-sum-exps, shaped as ``labels``, fp32 (fp64 for fp64 input),
            0 where ignored, without gradient.

    Returns:
        The loss in fp32 (fp64 for fp64 input). If every position is ignored it is 0, and so are the gradients.

    Raises:
        IndexError: a label or a row is out of range. It is checked on the CPU, and on a GPU under ``LILIFT_KERNELS_DEBUG=1``.
            Without that setting such a label on a GPU makes its own loss and gradient NaN.
        TypeError, ValueError: the arguments do not fit together.
    """
    options = LossOptions(ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    hidden, weight, bias = _autocast(hidden, weight, bias)
    _check_arguments(hidden, weight, labels, rows, bias, reduction, num_items)
    flat = hidden.reshape(-1, hidden.shape[-1])
    flat_labels = labels.reshape(-1).long()
    scale = _scale(flat_labels, reduction, num_items, options, accumulation_type(hidden.dtype))
    # The factor multiplies the gradient here, with one rounding. In fp16 that would underflow, so there it waits for the loss
    # scale in backward.
    late = hidden.dtype == torch.float16
    keeps_gradient = torch.is_grad_enabled() and hidden.requires_grad
    losses, log_sums = cast(
        "tuple[Tensor, Tensor]",
        LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            flat,
            weight,
            bias,
            flat_labels,
            None if rows is None else rows.long(),
            torch.ones_like(scale) if late else scale,
            options,
            keeps_gradient,
        ),
    )
    if late:
        losses = losses * scale
    loss = losses.reshape(labels.shape) if reduction == "none" else losses.sum()
    return (loss, log_sums.reshape(labels.shape)) if return_lse else loss


def workspace_bytes(rows: int, vocabulary: int, width: int, *, device: str = "cpu", training: bool = True) -> int:
    """Bytes that a call allocates temporarily beyond its arguments and results, for planning memory.

    The number is for 16-bit types without a softcap, the usual case. On a CPU fp32 takes less, and a softcap takes one tile of
    logits more.

    Args:
        rows: positions that carry loss. vocabulary, width: the head's shape [V, D].
        device: ``cpu``, or ``cuda`` for the Triton kernels.
        training: with the gradient of the hidden states, or only the loss.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu and dispatch.setting() != "torch":
        slices = tiles.loss_cut(rows, vocabulary, width, with_gradient=training)
        return tiles.workspace_bytes(slices, rows, width, 2, with_gradient=training)
    cut = chunking(rows, vocabulary, width, on_gpu=on_gpu)
    logits = 4 * cut.rows * cut.columns
    states = 4 * cut.rows * width
    tile = 4 * cut.columns * width
    sums = states if training else 0
    return max(logits + tile + states + sums, 3 * sums)  # during the sweep over the head, or at its end


def _autocast(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast as autocast does for ``F.linear``; like there, fp64 stays fp64."""
    device_type = hidden.device.type
    if not torch.is_autocast_enabled(device_type) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(device_type)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _scale(
    labels: Tensor, reduction: Reduction, num_items: int | Tensor | None, options: LossOptions, dtype: torch.dtype
) -> Tensor:
    """The factor of every loss as a scalar tensor: 1, or 1 / count of items (at least one); does not wait for a GPU."""
    if reduction != "mean":
        return torch.ones((), dtype=dtype, device=labels.device)
    if num_items is None:
        count = (labels != options.ignore_index).sum()
    elif isinstance(num_items, Tensor):
        count = num_items.detach().to(labels.device, non_blocking=True)
    else:
        count = torch.full((), num_items, dtype=dtype, device=labels.device)
    return count.to(dtype).clamp_min(1).reciprocal()


def _check_arguments(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    rows: Tensor | None,
    bias: Tensor | None,
    reduction: str,
    num_items: int | Tensor | None,
) -> None:
    if hidden.dim() < 1 or weight.dim() != 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden is {tuple(hidden.shape)} and weight is {tuple(weight.shape)}; they must be [..., D] and [V, D]"
        )
    if weight.shape[0] == 0:
        raise ValueError("weight is empty; the vocabulary needs at least one entry")
    if hidden.dtype not in FLOATING or weight.dtype != hidden.dtype:
        raise TypeError(
            f"hidden is {hidden.dtype} and weight is {weight.dtype}; they must share one floating-point type, 16 bits or more"
        )
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype):
        raise ValueError(f"bias is {tuple(bias.shape)}, {bias.dtype}; it must be [{weight.shape[0]}], {weight.dtype}")
    if labels.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"labels are {labels.dtype}; they must be int64 or int32")
    if rows is None and labels.shape != hidden.shape[:-1]:
        raise ValueError(f"labels are {tuple(labels.shape)} and hidden is {tuple(hidden.shape)}; every row needs one label")
    if rows is not None and (labels.dim() != 1 or rows.shape != labels.shape):
        raise ValueError(f"labels are {tuple(labels.shape)} and rows are {tuple(rows.shape)}; both must be [N]")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {reduction!r}; it must be 'mean', 'sum' or 'none'")
    if num_items is not None and reduction != "mean":
        raise ValueError(f"num_items divides a mean; leave it out with reduction={reduction!r}")
