"""The loss as operators of torch, each of which ``torch.compile`` and fake tensors treat as one, and their derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lilift_kernels import dispatch
from lilift_kernels.loss import loss_torch as torch_path
from lilift_kernels.loss.loss_options import LossOptions
from lilift_kernels.loss.loss_weight_gradient import weight_gradient
from lilift_kernels.loss.vocabulary_tiles import accumulation_type

SCALING_ROWS = 1024  # rows of a gradient that are widened to fp32 at a time while they are scaled


class LinearCrossEntropy(torch.autograd.Function):
    """Losses per label, already multiplied by ``scale``; forward computes the gradient of ``hidden``, backward scales it."""

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
        losses, log_sums, gradient = forward_operator(hidden, weight, bias, labels, rows, scale, *options.terms, keeps_gradient)
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
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient, rows, *for_head = ctx.saved_tensors
        hidden_gradient = head_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            hidden_gradient = _scale_rows(gradient, upstream)
            if rows is not None:
                whole = hidden_gradient.new_zeros(ctx.hidden_rows, hidden_gradient.shape[1])
                hidden_gradient = whole.index_copy_(0, rows, hidden_gradient)
        if for_head:
            hidden, weight, bias, labels, scale, log_sums = for_head
            head_gradient, bias_gradient = weight_operator(
                hidden, weight, bias, labels, rows, log_sums, upstream * scale, *ctx.options.terms
            )
            if bias is None:
                bias_gradient = None
        return hidden_gradient, head_gradient, bias_gradient, None, None, None, None, None


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
def forward_operator(
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
    """Losses [N], log-sum-exps [N] and gradient [N, D] (or [0]), as in ``loss_torch.losses_and_gradient``."""
    if not hidden.is_cuda or dispatch.debugging():
        _check_labels(labels, weight.shape[0], ignore_index)
        if rows is not None:
            _check_rows(rows, hidden.shape[0])
    terms = (ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    arguments = (hidden, weight, bias, labels, rows, scale, *terms, with_gradient)
    best = _forward_in_triton if _triton_supports(hidden.dtype, LossOptions(*terms)) else forward_in_torch
    return dispatch.run(
        "linear_cross_entropy",
        hidden.device,
        triton=lambda: best(*arguments),
        torch_path=lambda: forward_in_torch(*arguments),
    )


def forward_in_torch(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, rows: Tensor | None, scale: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same as ``forward_operator``, in plain torch and without its checks."""
    *terms, with_gradient = others
    options = LossOptions(*terms)
    return torch_path.losses_and_gradient(hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient)


def _forward_in_triton(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, rows: Tensor | None, scale: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    from lilift_kernels.loss import loss_triton as triton_path

    *terms, with_gradient = others
    options = LossOptions(*terms)
    return triton_path.losses_and_gradient(hidden, weight, bias, labels, rows, scale, options, with_gradient=with_gradient)


@forward_operator.register_fake
def _(hidden: Tensor, _weight: Tensor, _bias: Tensor | None, labels: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    with_gradient = others[-1]
    losses = hidden.new_empty(labels.shape, dtype=accumulation_type(hidden.dtype))
    gradient = hidden.new_empty((labels.shape[0], hidden.shape[1]) if with_gradient else (0,))
    return losses, torch.empty_like(losses), gradient


@torch.library.custom_op("lilift_kernels::linear_cross_entropy_weight_gradient", mutates_args=())
def weight_operator(
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
    """Gradients of the head [V, D] and of its bias [V] (or [0])."""
    options = LossOptions(ignore_index, softcap, logit_scale, label_smoothing, z_loss)
    with torch.autocast(hidden.device.type, enabled=False):
        return weight_gradient(hidden, weight, bias, labels, rows, log_sums, upstream, options)


@weight_operator.register_fake
def _(_hidden: Tensor, weight: Tensor, bias: Tensor | None, *_others: Any) -> tuple[Tensor, Tensor]:
    gradient = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return gradient, weight.new_empty(weight.shape[0] if bias is not None else 0)


def _triton_supports(dtype: torch.dtype, options: LossOptions) -> bool:
    """Torch runs fp64, which is for checks, and label smoothing under a softcap, which needs a third product."""
    return dtype != torch.float64 and (options.softcap is None or options.label_smoothing == 0)


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
        raise IndexError(f"row {int(torch.bincount(rows).argmax())} appears more than once in rows; a row has one label")
