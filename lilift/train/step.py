"""One optimizer step: forward and backward over its micro-batches, and the gradient's norm.

The loss of a step is the sum of its tokens' cross-entropies over the number of tokens that carry loss, all micro-batches
together. How the rows of a step are cut into micro-batches therefore changes nothing but rounding; a mean of the means of the
micro-batches would weigh a token more, the fewer neighbours it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from lilift.data.batching import Batch


class Learner(Protocol):
    """What a step asks of the model."""

    def loss(self, batch: Batch, *, num_items: int | None = None) -> Tensor:
        """The sum of the batch's token losses over `num_items`."""


@dataclass(frozen=True)
class StepOutcome:
    """What one forward and backward pass over a step gave.

    Attributes:
        loss: cross-entropy for each token that carries loss, in nats.
        grad_norm: norm of the whole gradient before clipping.
        loss_tokens: tokens that carry loss.
        tokens: all real positions of the step.
    """

    loss: float
    grad_norm: float
    loss_tokens: int
    tokens: int

    @property
    def finite(self) -> bool:
        """Whether the gradient may be applied."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def compute_gradients(
    model: Learner, batches: Iterable[Batch], parameters: Sequence[nn.Parameter], *, loss_tokens: int, max_grad_norm: float
) -> StepOutcome:
    """Fill the parameters' gradients with those of one step, scaled down to `max_grad_norm`.

    Waits for the device once, at the end.

    Args:
        model: gives the loss of a batch.
        batches: the step's micro-batches, on the model's device.
        parameters: the trained parameters, without gradients.
        loss_tokens: tokens of all the micro-batches that carry loss.
        max_grad_norm: the norm that the gradient is clipped to.
    """
    total: Tensor | None = None
    tokens = 0
    for batch in batches:
        loss = model.loss(batch, num_items=loss_tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        total = loss.detach() if total is None else total + loss.detach()
        tokens += batch.tokens
    if total is None:
        raise ValueError("a step needs at least one micro-batch")
    norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    loss_value, norm_value = torch.stack([total.float(), norm.float().to(total.device)]).tolist()
    return StepOutcome(loss_value, norm_value, loss_tokens, tokens)
