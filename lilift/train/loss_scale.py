"""Scales the loss of an LLM that computes in float16, so that small gradients survive the backward pass.

float16 holds magnitudes from 6e-8 to 65,504. A token's share of a step's gradient is smaller than that: the loss is a mean over
thousands of tokens. lilift multiplies the loss by a power of two before the backward pass and divides the gradients by it
afterwards, which changes no digit of them. It starts with the same factor in every step. If the gradient overflows, it
computes the step again with a smaller one. A factor depends on nothing but the step, so a resumed run repeats an uninterrupted
one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

# Factor for each token that carries loss. A token's gradient is about the size of the output head's weights, so this leaves a
# factor of 500 to the largest number for what grows on the way through the layers.
PER_TOKEN = 2.0**7
# How much smaller the next factor is, and how many factors lilift tries.
SMALLER, TRIES = 2.0**-4, 5


def loss_scales(parameters: Iterable[Tensor], loss_tokens: int) -> Iterator[float]:
    """The factors to try in a step, largest first: only 1 for a model that does not compute in float16.

    Args:
        parameters: all weights of the model, also the frozen ones.
        loss_tokens: tokens of the step that carry loss.
    """
    if all(parameter.dtype != torch.float16 for parameter in parameters):
        yield 1.0
        return
    scale = PER_TOKEN * 2.0 ** math.ceil(math.log2(max(1, loss_tokens)))
    for _ in range(TRIES):
        yield scale
        scale *= SMALLER


def unscale(parameters: Iterable[nn.Parameter], scale: float) -> None:
    """Divide the gradients by the factor of the loss, in place and without allocating memory."""
    if scale == 1.0:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(1 / scale)
