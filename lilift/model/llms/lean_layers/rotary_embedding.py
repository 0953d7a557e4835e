"""Rotary position embeddings (arXiv 2104.09864) by Liger's kernel, inside the attention of transformers.

The attention of transformers calls a function of its module. lilift binds to each instance the same code with another function
under that name, and changes neither the class nor the module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

NAME = "apply_rotary_pos_emb"
Rotation = Callable[..., tuple[Tensor, Tensor]]


def bind_rotary_embeddings(model: nn.Module) -> int:
    """Let the attention layers of a model rotate with Liger's kernel while they train. Returns their number."""
    found = [module for module in model.modules() if _with_liger(type(module)) is not None]  # type: ignore[arg-type]
    for attention in found:
        attention.forward = MethodType(_attention_forward, attention)
    return len(found)


def _attention_forward(attention: Any, *arguments: Any, **named: Any) -> Any:
    forward = _with_liger(type(attention)) if torch.is_grad_enabled() else None  # type: ignore[arg-type]
    return (forward or type(attention).forward)(attention, *arguments, **named)


@cache
def _with_liger(kind: Any) -> FunctionType | None:
    """The forward pass of a class of attention layers with Liger's rotation; None if the class rotates in another way."""
    forward = kind.forward
    if not isinstance(forward, FunctionType) or NAME not in forward.__code__.co_names:
        return None
    rotation = forward.__globals__.get(NAME)
    if rotation is None or not _rotates_halves(rotation):
        return None
    names = {**forward.__globals__, NAME: _rotation_by_liger(rotation)}
    bound = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    bound.__kwdefaults__ = forward.__kwdefaults__
    return bound


def _rotation_by_liger(original: Rotation) -> Rotation:
    def rotate(queries: Tensor, keys: Tensor, cos: Tensor, sin: Tensor, *others: Any, **named: Any) -> tuple[Tensor, Tensor]:
        if others or named or not queries.is_cuda or cos.shape[-1] != queries.shape[-1]:
            return original(queries, keys, cos, sin, *others, **named)
        from liger_kernel.ops.rope import LigerRopeFunction

        found: tuple[Tensor, Tensor] = LigerRopeFunction.apply(queries, keys, cos, sin)
        return found

    return rotate


def _rotates_halves(rotation: Rotation) -> bool:
    """Whether a function turns the first half of each head against the second, as Llama does; a few numbers show it."""
    with unset_fake_temporarily():
        generator = torch.Generator().manual_seed(0)
        queries, keys = (torch.randn(2, heads, 3, 8, generator=generator) for heads in (2, 1))
        angles = torch.randn(2, 3, 4, generator=generator)
        cos, sin = (torch.cat([part, part], dim=-1) for part in (angles.cos(), angles.sin()))
        try:
            found = rotation(queries, keys, cos, sin)
        except (RuntimeError, TypeError, ValueError):
            return False
        return all(
            torch.allclose(one, _turned(heads, angles[:, None]), atol=1e-6)
            for one, heads in zip(found, (queries, keys), strict=True)
        )


def _turned(heads: Tensor, angles: Tensor) -> Tensor:
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1)
