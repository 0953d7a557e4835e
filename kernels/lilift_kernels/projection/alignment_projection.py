"""The alignment projection: encoder states straight into the LLM's input-embedding buffer.

It computes ``Linear -> GELU (exact, erf) -> Linear`` or a single ``Linear`` for the valid encoder states alone, and writes the
result to its places in the packed sequence, with the learned boundary rows. It concatenates nothing, computes no padded rows,
and saves one activation: the input of the GELU.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lilift_kernels.projection.projection_operators import backward_operator, forward_operator

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def project_into(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None = None,
    b2: Tensor | None = None,
    *,
    out: Tensor,
    bos: Tensor | None = None,
    bos_slots: Tensor | None = None,
    eos: Tensor | None = None,
    eos_slots: Tensor | None = None,
) -> Tensor:
    """Project encoder states into the input embeddings, in place: ``out[slots[i]] = W2 gelu(W1 states[rows[i]] + b1) + b2``.

    With a :class:`Batch` of lilift::

        out = embeddings.new_zeros(B * T, D)
        out.index_copy_(0, batch.text_slots, embed_tokens(batch.text_ids))
        out = project_into(
            states, batch.state_rows, batch.state_slots, w1, b1, w2, b2, out=out,
            bos=bos, bos_slots=batch.bos_slots, eos=eos, eos_slots=batch.eos_slots,
        )
        inputs_embeds = out.view(B, T, D)

    Args:
        states: [..., E] encoder states, seen as [M, E]; any floating-point type. Autocast casts them to its type. The
            projection is computed in the type that they then have.
        rows: [N] int64, the rows of [M, E] to project; may repeat. None takes all of them, in order (N == M).
        slots: [N] int64, the rows of ``out`` to write; all different, and different from the boundary slots.
        w1, b1: [H, E], [H]: the first layer. ``b1`` may be None. Parameters of another floating-point type than the states'
            are cast for the computation, and get a gradient of their own type.
        w2, b2: [D, H], [D]: the second layer. With ``w2`` None the projection is the first layer alone, without activation
            (H == D).
        out: [R, D], contiguous, any floating-point type: the embedding buffer. It is changed in place, at the slots only, and
            returned. Use the returned tensor, because it carries the gradients.
        bos, bos_slots: [D], [K] int64: a learned row and the slots to write it to. Give both or neither; K may be 0.
        eos, eos_slots: the same for the row after the states.

    Returns:
        ``out``. Gradients flow to w1, b1, w2, b2, bos and eos, to ``states`` if they require one (if the encoder is trained),
        and to the earlier contents of ``out`` outside the slots. Without gradients nothing is saved.

    Raises:
        IndexError, RuntimeError: an index is out of range (checked on the CPU).
        TypeError, ValueError: the arguments do not fit together.
    """
    _check_arguments(states, rows, slots, w1, b1, w2, b2, out)
    _check_boundary("bos", bos, bos_slots, out)
    _check_boundary("eos", eos, eos_slots, out)
    if torch.is_autocast_enabled(states.device.type) and states.dtype != torch.float64:
        states = states.to(torch.get_autocast_dtype(states.device.type))
    flat = states.reshape(-1, states.shape[-1])
    saves = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (states, w1, b1, w2))
    return cast(
        Tensor,
        _ProjectInto.apply(  # type: ignore[no-untyped-call]
            out, flat, rows, slots, w1, b1, w2, b2, bos, bos_slots, eos, eos_slots, saves
        ),
    )


class _ProjectInto(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        out: Tensor,
        states: Tensor,
        rows: Tensor | None,
        slots: Tensor,
        w1: Tensor,
        b1: Tensor | None,
        w2: Tensor | None,
        b2: Tensor | None,
        bos: Tensor | None,
        bos_slots: Tensor | None,
        eos: Tensor | None,
        eos_slots: Tensor | None,
        saves: bool,
    ) -> Tensor:
        pre_activation = forward_operator(states, rows, slots, w1, b1, w2, b2, out, saves)
        for row, where in ((bos, bos_slots), (eos, eos_slots)):
            if row is not None and where is not None:
                out.index_copy_(0, where, row.to(out.dtype).expand(where.shape[0], -1))
        ctx.types = [None if tensor is None else tensor.dtype for tensor in (states, w1, b1, w2, b2, bos, eos)]
        ctx.save_for_backward(slots, bos_slots, eos_slots, *((states, rows, w1, w2, pre_activation) if saves else ()))
        ctx.mark_dirty(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        slots, bos_slots, eos_slots, *saved = ctx.saved_tensors
        needs = ctx.needs_input_grad
        wants = (needs[1], *needs[4:8])  # states, w1, b1, w2, b2
        types = ctx.types
        states = w1 = b1 = w2 = b2 = None
        if saved:
            gradients = backward_operator(upstream, slots, *saved, *wants)
            states, w1, b1, w2, b2 = (
                gradient.to(dtype) if wanted else None
                for gradient, wanted, dtype in zip(gradients, wants, types[:5], strict=True)
            )
        elif wants[4]:
            b2 = _sum_rows(upstream, slots, types[4])
        bos = _sum_rows(upstream, bos_slots, types[5]) if needs[8] else None
        eos = _sum_rows(upstream, eos_slots, types[6]) if needs[10] else None
        out = None
        if needs[0]:
            written = torch.cat([part for part in (slots, bos_slots, eos_slots) if part is not None])
            out = upstream.index_fill(0, written, 0.0)
        return out, states, None, None, w1, b1, w2, b2, bos, None, eos, None, None


def _sum_rows(upstream: Tensor, slots: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient [D] of a row that forward wrote to ``slots``."""
    accumulate = torch.promote_types(upstream.dtype, torch.float32)
    return upstream.index_select(0, slots).sum(0, dtype=accumulate).to(dtype)


def _check_arguments(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    out: Tensor,
) -> None:
    operands = {"states": states, "w1": w1, "b1": b1, "w2": w2, "b2": b2, "out": out}
    for name, tensor in operands.items():
        if tensor is not None and tensor.dtype not in FLOATING:
            raise TypeError(f"{name} is {tensor.dtype}; it must be a floating-point type of 16 bits or more")
    for name, index in (("rows", rows), ("slots", slots)):
        if index is not None and (index.dim() != 1 or index.dtype != torch.int64):
            raise TypeError(f"{name} is {tuple(index.shape)}, {index.dtype}; it must be [N], int64")
    if out.dim() != 2 or not out.is_contiguous():
        raise ValueError(f"out is {tuple(out.shape)}; it must be a contiguous [R, D]")
    if states.dim() < 2 or w1.dim() != 2 or states.shape[-1] != w1.shape[1]:
        raise ValueError(f"states are {tuple(states.shape)} and w1 is {tuple(w1.shape)}; they must be [..., E] and [H, E]")
    count = rows.shape[0] if rows is not None else states.numel() // states.shape[-1]
    if slots.shape[0] != count:
        raise ValueError(f"there are {count} rows and {slots.shape[0]} slots; the counts must be equal")
    if b1 is not None and b1.shape != w1.shape[:1]:
        raise ValueError(f"b1 is {tuple(b1.shape)} and w1 is {tuple(w1.shape)}; they must be [H] and [H, E]")
    if w2 is None:
        if b2 is not None:
            raise ValueError("b2 is given without w2; a single layer takes only w1 and b1")
        if w1.shape[0] != out.shape[1]:
            raise ValueError(f"w1 is {tuple(w1.shape)} and out is {tuple(out.shape)}; w1 must be [D, E] for out [R, D]")
        return
    if w2.shape != (out.shape[1], w1.shape[0]):
        raise ValueError(
            f"w2 is {tuple(w2.shape)}; with w1 {tuple(w1.shape)} and out {tuple(out.shape)} it must be "
            f"[{out.shape[1]}, {w1.shape[0]}]"
        )
    if b2 is not None and b2.shape != w2.shape[:1]:
        raise ValueError(f"b2 is {tuple(b2.shape)} and w2 is {tuple(w2.shape)}; they must be [D] and [D, H]")


def _check_boundary(name: str, row: Tensor | None, slots: Tensor | None, out: Tensor) -> None:
    if (row is None) != (slots is None):
        if row is None and slots is not None and slots.shape[0] == 0:
            return
        raise ValueError(f"only one of {name} and {name}_slots is given; give both or neither")
    if row is not None and row.shape != out.shape[1:]:
        raise ValueError(f"{name} is {tuple(row.shape)}; out is {tuple(out.shape)}, so it must be [{out.shape[1]}]")
