"""The projection's two directions as operators of torch, each of which ``torch.compile`` and fake tensors treat as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lilift_kernels.projection import projection_torch as torch_path
from lilift_kernels.projection.projection_torch import ProjectionGradients

FiveTensors: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("lilift_kernels::project_into", mutates_args=("out",))
def forward_operator(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    out: Tensor,
    saves: bool,
) -> Tensor:
    """Write the soft tokens into ``out``; return the input of the GELU [N, H] if ``saves``, else [0]."""
    with torch.autocast(states.device.type, enabled=False):  # the types are those of the arguments
        return forward_in_torch(states, rows, slots, w1, b1, w2, b2, out, saves)


def forward_in_torch(states: Tensor, rows: Tensor | None, slots: Tensor, *others: Any) -> Tensor:
    """Do the same as ``forward_operator``, as the operators of torch that a memory plan can see."""
    *parameters, out, saves = others
    w1, b1, w2, b2 = _cast(parameters, states.dtype)
    return torch_path.project(states, rows, slots, w1, b1, w2, b2, out, saves=saves)


def _cast(parameters: Sequence[Tensor | None], dtype: torch.dtype) -> Any:
    return [None if parameter is None else parameter.to(dtype) for parameter in parameters]


@forward_operator.register_fake
def _(
    states: Tensor, _rows: Tensor | None, slots: Tensor, w1: Tensor, _b1: Tensor | None, w2: Tensor | None, *others: Any
) -> Tensor:
    saves = others[-1]
    return states.new_empty((slots.shape[0], w1.shape[0]) if saves and w2 is not None else (0,))


@torch.library.custom_op("lilift_kernels::project_into_backward", mutates_args=())
def backward_operator(
    upstream: Tensor,
    slots: Tensor,
    states: Tensor,
    rows: Tensor | None,
    w1: Tensor,
    w2: Tensor | None,
    pre_activation: Tensor,
    wants_states: bool,
    wants_w1: bool,
    wants_b1: bool,
    wants_w2: bool,
    wants_b2: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of states, w1, b1, w2 and b2, those of parameters in the type of w1; empty if not wanted."""
    wants = (wants_states, wants_w1, wants_b1, wants_w2, wants_b2)
    with torch.autocast(states.device.type, enabled=False):
        return backward_in_torch(upstream, slots, states, rows, w1, w2, pre_activation, *wants)


def backward_in_torch(
    upstream: Tensor, slots: Tensor, states: Tensor, rows: Tensor | None, w1: Tensor, w2: Tensor | None, *others: Any
) -> FiveTensors:
    """Do the same as ``backward_operator``, as the operators of torch that a memory plan can see."""
    pre_activation, *wants = others
    chosen = upstream.index_select(0, slots).to(states.dtype)
    first, second = _cast((w1, w2), states.dtype)
    return _padded(
        torch_path.project_backward(chosen, states, rows, first, second, pre_activation, tuple(wants), w1.dtype), states, w1
    )


def _padded(found: ProjectionGradients, states: Tensor, w1: Tensor) -> FiveTensors:
    """Empty tensors for gradients that are not wanted, because an operator cannot return None."""
    d_states = states.new_empty(0) if found.states is None else found.states
    d_w1, d_b1, d_w2, d_b2 = (w1.new_empty(0) if item is None else item for item in (found.w1, found.b1, found.w2, found.b2))
    return d_states, d_w1, d_b1, d_w2, d_b2


@backward_operator.register_fake
def _(
    upstream: Tensor,
    _slots: Tensor,
    states: Tensor,
    _rows: Tensor | None,
    w1: Tensor,
    w2: Tensor | None,
    _pre_activation: Tensor,
    wants_states: bool,
    wants_w1: bool,
    wants_b1: bool,
    wants_w2: bool,
    wants_b2: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    width = upstream.shape[1]
    return (
        states.new_empty(states.shape if wants_states else (0,)),
        w1.new_empty(w1.shape if wants_w1 else (0,)),
        w1.new_empty(w1.shape[0] if wants_b1 else 0),
        w1.new_empty(w2.shape if w2 is not None and wants_w2 else (0,)),
        w1.new_empty(width if w2 is not None and wants_b2 else 0),
    )
