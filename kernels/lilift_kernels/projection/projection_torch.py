"""The alignment projection's arithmetic: the library's products over valid rows only, GELU recomputed in backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class ProjectionGradients:
    """Gradients of the encoder states [M, E] and of the parameters; None for those that are not wanted."""

    states: Tensor | None
    w1: Tensor | None
    b1: Tensor | None
    w2: Tensor | None
    b2: Tensor | None


def project(
    states: Tensor,
    rows: Tensor | None,
    slots: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor | None,
    b2: Tensor | None,
    out: Tensor,
    *,
    saves: bool,
) -> Tensor:
    """Write the projection of ``states[rows]`` into ``out[slots]``; return the pre-activation [N, H], or nothing ([0]).

    All but ``out`` have the type of the computation.
    """
    inputs = _gather(states, rows)
    first = functional.linear(inputs, w1, b1)
    if w2 is None:
        out.index_copy_(0, slots, first.to(out.dtype))
        return first.new_empty(0)
    # If no backward pass follows, the activation overwrites the pre-activation.
    activation = functional.gelu(first) if saves else torch.ops.aten.gelu_(first)
    out.index_copy_(0, slots, functional.linear(activation, w2, b2).to(out.dtype))
    return first if saves else first.new_empty(0)


def project_backward(
    upstream: Tensor,
    states: Tensor,
    rows: Tensor | None,
    w1: Tensor,
    w2: Tensor | None,
    pre_activation: Tensor,
    wanted: tuple[bool, bool, bool, bool, bool],
    gradient_type: torch.dtype,
) -> ProjectionGradients:
    """Gradients from ``upstream`` [N, D], the gradient at the written slots, in the type of the computation.

    ``wanted`` says which of (states, w1, b1, w2, b2) need one. Gradients of parameters have type ``gradient_type``.
    """
    wants_states, wants_w1, wants_b1, wants_w2, wants_b2 = wanted
    w2_gradient = b2_gradient = None
    if w2 is not None:
        if wants_w2:
            w2_gradient = (upstream.t() @ functional.gelu(pre_activation)).to(gradient_type)
        if wants_b2:
            b2_gradient = _column_sums(upstream, gradient_type)
        if not (wants_states or wants_w1 or wants_b1):
            return ProjectionGradients(None, None, None, w2_gradient, b2_gradient)
        upstream = torch.ops.aten.gelu_backward(upstream @ w2, pre_activation)
    w1_gradient = (upstream.t() @ _gather(states, rows)).to(gradient_type) if wants_w1 else None
    b1_gradient = _column_sums(upstream, gradient_type) if wants_b1 else None
    states_gradient = None
    if wants_states:
        states_gradient = upstream @ w1
        if rows is not None:
            states_gradient = torch.zeros_like(states).index_add_(0, rows, states_gradient)
    return ProjectionGradients(states_gradient, w1_gradient, b1_gradient, w2_gradient, b2_gradient)


def _column_sums(tensor: Tensor, gradient_type: torch.dtype) -> Tensor:
    return tensor.sum(0, dtype=torch.promote_types(tensor.dtype, torch.float32)).to(gradient_type)


def _gather(states: Tensor, rows: Tensor | None) -> Tensor:
    return states if rows is None else states.index_select(0, rows)
