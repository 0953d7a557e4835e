"""One optimizer step: forward and backward over its micro-batches, and the gradient's norm.

The loss of a step is the sum of its tokens' cross-entropies, divided by the number of tokens that carry loss in all its
micro-batches. So the cut of a step's rows into micro-batches changes nothing but rounding. A mean of the micro-batches' means
would instead give a token more weight if it has fewer neighbours.

A micro-batch counts completely or not at all. If memory runs out in the middle of one, the gradients of the earlier ones stay
as they were, and the guard may try it again in halves.

With several processes, each has its own micro-batches of the step. The gradients are summed once, after the last of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lilift.data.batches.batching import Batch
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.processes.step_exchange import StepExchange
from lilift.train.learner import Learner
from lilift.train.loss_scale import loss_scales, unscale
from lilift.train.randomness import replayable


@dataclass(frozen=True)
class StepOutcome:
    """The result of one forward and backward pass over a step.

    Attributes:
        loss: mean cross-entropy of the tokens that carry loss, in nats.
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


@dataclass(frozen=True)
class Accumulated:
    """A step's loss and gradient norm as scalar tensors, and its real positions. The parameters hold the gradients."""

    loss: Tensor
    grad_norm: Tensor
    tokens: int


def compute_gradients(
    model: Learner,
    micro_batches: Sequence[Sequence[Row]],
    parameters: Sequence[nn.Parameter],
    *,
    loss_tokens: int,
    max_grad_norm: float,
    guard: OutOfMemoryGuard,
    exchange: StepExchange | None = None,
) -> StepOutcome:
    """Compute the gradients of one step in the parameters, scaled down to `max_grad_norm`.

    It waits for the device once, at the end. In float16 it does so for each factor of the loss that it tries.

    Args:
        model: gives the loss of a batch.
        micro_batches: the step's rows, by micro-batch; with several processes, those of this one, and perhaps none.
        parameters: the trained parameters, without gradients.
        loss_tokens: tokens of all the micro-batches that carry loss, of all processes.
        max_grad_norm: the largest norm of the gradient after clipping.
        guard: splits micro-batches that do not fit into memory.
        exchange: adds the gradients of the other processes; None if there are none.

    Raises:
        MemoryError, torch.OutOfMemoryError, RuntimeError: a single row does not fit into memory.
        ProcessLost: another process has ended or does not answer.
    """
    outcome = None
    for scale in loss_scales((parameter for _, parameter in model.named_parameters()), loss_tokens):
        if outcome is not None:
            _set_gradients(parameters, [None] * len(parameters))
        done = accumulate_gradients(
            model,
            micro_batches,
            parameters,
            loss_tokens=loss_tokens,
            max_grad_norm=max_grad_norm,
            guard=guard,
            loss_scale=scale,
            exchange=exchange,
        )
        outcome = _outcome(done, loss_tokens, guard)
        if exchange is not None:
            outcome = replace(outcome, tokens=exchange.agreed().tokens)
        if outcome.finite or not math.isfinite(outcome.loss):  # a smaller factor does not help a loss that is not finite
            break
    assert outcome is not None
    return outcome


def accumulate_gradients(
    model: Learner,
    micro_batches: Sequence[Sequence[Row]],
    parameters: Sequence[nn.Parameter],
    *,
    loss_tokens: int,
    max_grad_norm: float,
    guard: OutOfMemoryGuard,
    loss_scale: float = 1.0,
    exchange: StepExchange | None = None,
) -> Accumulated:
    """`compute_gradients` with one factor of the loss, without waiting for the device: nothing depends on a tensor's values."""
    if not micro_batches and exchange is None:
        raise ValueError("a step needs at least one micro-batch")
    device = parameters[0].device

    def part(rows: Sequence[Row]) -> tuple[Tensor, int]:
        batch = model.collate(rows).to(device)
        return micro_step(model, batch, parameters, loss_tokens=loss_tokens, loss_scale=loss_scale), batch.tokens

    parts = [done for rows in micro_batches for done in guard.run(rows, part, size=model.padded_tokens)]
    losses = [loss for loss, _ in parts] or [torch.zeros((), device=device)]  # a process may have no rows
    loss = guard.retry(lambda: torch.stack(losses).sum())
    tokens = sum(tokens for _, tokens in parts)
    if exchange is not None:  # never inside the guard: a process that tried again would wait for the others forever
        exchange.sum_gradients()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = guard.retry(lambda: nn.utils.get_total_norm(gradients))
    if exchange is not None:
        loss, norm = exchange.agree(loss, norm, tokens)
    # Once the first gradient is scaled, this allocates nothing, so that the guard can try it again too.
    guard.retry(lambda: nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, norm))
    return Accumulated(loss, norm, tokens)


def _outcome(done: Accumulated, loss_tokens: int, guard: OutOfMemoryGuard) -> StepOutcome:
    """The step's numbers, once the device has computed them."""
    loss, norm = guard.retry(lambda: torch.stack([done.loss.float(), done.grad_norm.float().to(done.loss.device)]).tolist())
    return StepOutcome(loss, norm, loss_tokens, done.tokens)


def micro_step(
    model: Learner,
    batch: Batch,
    parameters: Sequence[nn.Parameter],
    *,
    loss_tokens: int,
    loss_scale: float = 1.0,
) -> Tensor:
    """Add the gradients of one micro-batch to the parameters', all of them or none. Returns its share of the loss.

    The backward pass starts from the loss times `loss_scale`, and the gradients are divided by it again.

    Meanwhile the gradients of earlier micro-batches wait outside the parameters. They do not raise the peak of memory. The peak
    is at the start of the backward pass, and new gradients come only as activations go.
    """
    device = parameters[0].device
    before = [parameter.grad for parameter in parameters]
    _set_gradients(parameters, [None] * len(parameters))
    try:
        with replayable(device):
            loss = model.loss(batch, num_items=loss_tokens)
            # A product with 1 would take another tensor.
            (loss if loss_scale == 1.0 else loss * loss_scale).backward()  # type: ignore[no-untyped-call]
            loss = loss.detach()
            unscale(parameters, loss_scale)
    except BaseException:
        _set_gradients(parameters, before)
        raise
    for parameter, earlier in zip(parameters, before, strict=True):
        if earlier is not None and parameter.grad is not None:
            parameter.grad = earlier.add_(parameter.grad)
        elif earlier is not None:
            parameter.grad = earlier
    return loss


def _set_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
