"""Cross-entropy of a linear head without its logits: ``cross_entropy(hidden @ weight.T, labels)`` in memory free of V.

Loss and gradient by the hidden states come out of one sweep over the head (4·N·V·D operations with a frozen head). Ignored
positions are left out before anything is computed. A head that is trained gets its gradient in a second sweep, during backward.
"""

from __future__ import annotations

from typing import Any, Literal, cast, overload

import torch
from torch import Tensor

from lilift_kernels import dispatch, tiles
from lilift_kernels import linear_cross_entropy_torch as torch_path
from lilift_kernels.loss_options import LossOptions

Reduction = Literal["mean", "sum", "none"]
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SCALING_ROWS = 1024  # rows of a gradient that are widened to fp32 at a time while they are scaled


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
    """Cross-entropy between labels and the logits ``hidden @ weight.T + bias``, which are never held whole.

    Args:
        hidden: [..., D] hidden states, any strides; fp16, bf16, fp32 or fp64. Under autocast it is cast as ``F.linear`` casts.
        weight: [V, D], the head, same type. A gradient is computed for it only if it requires one.
        labels: token numbers; shaped as ``hidden`` without its last dimension, or [N] when ``rows`` is given.
        rows: [N], for a caller that has left ignored positions out already: label i belongs to row ``rows[i]`` of ``hidden``
            seen as [M, D]. The rows must differ from one another. Nothing then depends on the labels' values, so no GPU is
            waited for and fake tensors have fixed shapes. A label that is ``ignore_index`` all the same counts nothing, but
            costs its row.
        bias: [V] or None.
        ignore_index: the label of positions that carry no loss.
        reduction: ``mean`` over the positions that are not ignored, ``sum``, or ``none``: one loss per label, 0 where ignored.
        softcap, logit_scale, label_smoothing, z_loss: the terms of :class:`~lilift_kernels.loss_options.LossOptions`.
        num_items: with ``mean``, the number to divide by instead of the count of labels here: the whole optimizer step's,
            when this call is one micro-batch of several. An int, or a scalar tensor on any device.
        return_lse: return ``(loss, lse)``; ``lse`` are the log-sum-exps, shaped as ``labels``, fp32 (fp64 for fp64 input),
            0 where ignored, without gradient.

    Returns:
        The loss in fp32 (fp64 for fp64 input). If every position is ignored it is 0, and so are the gradients.

    Raises:
        IndexError: a label or a row is out of range. Checked on the CPU, and on a GPU under ``LILIFT_KERNELS_DEBUG=1``; else
            such a label on a GPU makes its loss and gradient NaN.
        TypeError, ValueError: the arguments do not fit together.
    """
    options = LossOptions(ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    hidden, weight, bias = _autocast(hidden, weight, bias)
    _check_arguments(hidden, weight, labels, rows, bias, reduction, num_items)
    flat = hidden.reshape(-1, hidden.shape[-1])
    flat_labels = labels.reshape(-1).long()
    scale = _scale(flat_labels, reduction, num_items, options, torch_path.accumulation_type(hidden.dtype))
    # The factor is rounded into the gradient once. In fp16 that would underflow: there it waits for the loss scale in backward.
    late = hidden.dtype == torch.float16
    keeps_gradient = torch.is_grad_enabled() and hidden.requires_grad
    losses, log_sums = cast(
        "tuple[Tensor, Tensor]",
        _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
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
    """Bytes that a call holds for a moment beyond its arguments and results, for planning memory.

    That of 16-bit types without a softcap, the usual case; fp32 takes less on a CPU, a softcap one tile of logits more.

    Args:
        rows: positions that carry loss. vocabulary, width: the head's shape [V, D].
        device: ``cpu``, or ``cuda`` for the Triton kernels (on a card that is not at hand, those of an RTX 3090).
        training: with the gradient by the hidden states, or the loss alone.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu and dispatch.setting() != "torch":
        plan = tiles.loss_plan(*tiles.card(device), rows, vocabulary, width, 2, with_gradient=training)
        return tiles.workspace_bytes(plan, rows, width, 2, with_gradient=training)
    cut = torch_path.chunking(rows, vocabulary, width, on_gpu=on_gpu)
    logits = 4 * cut.rows * cut.columns
    states = 4 * cut.rows * width
    tile = 4 * cut.columns * width
    sums = states if training else 0
    return max(logits + tile + states + sums, 3 * sums)  # inside the sweep over the head, or while it is wound up


class _LinearCrossEntropy(torch.autograd.Function):
    """Per-label losses, already multiplied by ``scale``; the gradient by ``hidden`` is made in forward and scaled in
    backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        rows: Tensor | None,
        scale: Tensor,
        options: LossOptions,
        keeps_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        losses, log_sums, gradient = _forward_op(
            hidden,
            weight,
            bias,
            labels,
            rows,
            scale,
            options.ignore_index,
            options.softcap,
            options.logit_scale,
            options.label_smoothing,
            options.z_loss,
            keeps_gradient,
        )
        ctx.options = options
        ctx.hidden_rows = hidden.shape[0]
        trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ctx.save_for_backward(
            gradient if keeps_gradient else None,
            rows,
            *((hidden, weight, bias, labels, scale, log_sums) if trains_head else ()),
        )
        ctx.mark_non_differentiable(log_sums)
        return losses, log_sums

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient, rows, *for_head = ctx.saved_tensors
        hidden_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            hidden_gradient = _scale_rows(gradient, upstream)
            if rows is not None:
                whole = hidden_gradient.new_zeros(ctx.hidden_rows, hidden_gradient.shape[1])
                hidden_gradient = whole.index_copy_(0, rows, hidden_gradient)
        if for_head:
            hidden, weight, bias, labels, scale, log_sums = for_head
            options = ctx.options
            weight_gradient, bias_gradient = _weight_op(
                hidden,
                weight,
                bias,
                labels,
                rows,
                log_sums,
                upstream * scale,
                options.ignore_index,
                options.softcap,
                options.logit_scale,
                options.label_smoothing,
                options.z_loss,
            )
            if bias is None:
                bias_gradient = None
        return hidden_gradient, weight_gradient, bias_gradient, None, None, None, None, None


def _scale_rows(gradient: Tensor, factors: Tensor) -> Tensor:
    """``gradient`` [N, D] with row i multiplied by ``factors[i]`` in fp32; in place if the buffer is not needed again."""
    if torch.compiler.is_compiling():
        return (gradient * factors.unsqueeze(1)).to(gradient.dtype)
    target = gradient if _graph_is_freed() else torch.empty_like(gradient)
    for start in range(0, gradient.shape[0], SCALING_ROWS):
        part = slice(start, start + SCALING_ROWS)
        torch.mul(gradient[part], factors[part].unsqueeze(1), out=target[part])
    return target


def _graph_is_freed() -> bool:
    """True in a backward pass that runs once (no ``retain_graph``), so that saved buffers may be reused for results."""
    keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return keeps_graph is not None and not keeps_graph()


@torch.library.custom_op("lilift_kernels::linear_cross_entropy", mutates_args=())
def _forward_op(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    scale: Tensor,
    ignore_index: int,
    softcap: float | None,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    options = LossOptions(ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    if not hidden.is_cuda or dispatch.debugging():
        _check_labels(labels, weight.shape[0], ignore_index)
        if rows is not None:
            _check_rows(rows, hidden.shape[0])
    arguments = (hidden, weight, bias, labels, rows, scale, options)

    def in_torch() -> tuple[Tensor, Tensor, Tensor]:
        return torch_path.losses_and_gradient(*arguments, with_gradient=with_gradient)

    def in_triton() -> tuple[Tensor, Tensor, Tensor]:
        from lilift_kernels import linear_cross_entropy_triton as triton_path

        return triton_path.losses_and_gradient(*arguments, with_gradient=with_gradient)

    best = in_triton if _triton_supports(hidden.dtype, options) else in_torch
    return dispatch.run("linear_cross_entropy", hidden.device, triton=best, torch_path=in_torch)


@_forward_op.register_fake
def _(hidden: Tensor, _weight: Tensor, _bias: Tensor | None, labels: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    with_gradient = others[-1]
    losses = hidden.new_empty(labels.shape, dtype=torch_path.accumulation_type(hidden.dtype))
    gradient = hidden.new_empty((labels.shape[0], hidden.shape[1]) if with_gradient else (0,))
    return losses, torch.empty_like(losses), gradient


@torch.library.custom_op("lilift_kernels::linear_cross_entropy_weight_gradient", mutates_args=())
def _weight_op(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    rows: Tensor | None,
    log_sums: Tensor,
    upstream: Tensor,
    ignore_index: int,
    softcap: float | None,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
) -> tuple[Tensor, Tensor]:
    options = LossOptions(ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    with torch.autocast(hidden.device.type, enabled=False):
        return torch_path.weight_gradient(hidden, weight, bias, labels, rows, log_sums, upstream, options)


@_weight_op.register_fake
def _(_hidden: Tensor, weight: Tensor, bias: Tensor | None, *_others: Any) -> tuple[Tensor, Tensor]:
    gradient = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return gradient, weight.new_empty(weight.shape[0] if bias is not None else 0)


def _triton_supports(dtype: torch.dtype, options: LossOptions) -> bool:
    """fp64 exists for checking, and label smoothing under a softcap needs a third product: both are left to torch."""
    return dtype != torch.float64 and (options.softcap is None or options.label_smoothing == 0)


def _autocast(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast as autocast does for ``F.linear``; fp64 stays, as there."""
    device_type = hidden.device.type
    if not torch.is_autocast_enabled(device_type) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(device_type)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _scale(
    labels: Tensor, reduction: Reduction, num_items: int | Tensor | None, options: LossOptions, dtype: torch.dtype
) -> Tensor:
    """What every loss is multiplied by, as a scalar tensor: 1, or 1 / count of items (at least one), without a wait."""
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
        raise ValueError(f"num_items divides a mean; it means nothing with reduction={reduction!r}")


def _check_labels(labels: Tensor, vocabulary: int, ignore_index: int) -> None:
    wrong = (labels != ignore_index) & ((labels < 0) | (labels >= vocabulary))
    if wrong.any():
        place = int(wrong.nonzero()[0, 0])
        raise IndexError(
            f"label {int(labels[place])} at position {place} is neither in 0..{vocabulary - 1} nor ignore_index {ignore_index}"
        )


def _check_rows(rows: Tensor, count: int) -> None:
    if ((rows < 0) | (rows >= count)).any():
        raise IndexError(f"rows reach from {int(rows.min())} to {int(rows.max())}; hidden has rows 0..{count - 1}")
    if (torch.bincount(rows, minlength=1) > 1).any():
        raise IndexError(f"row {int(torch.bincount(rows).argmax())} is named more than once in rows; each may carry one label")
