"""The stages as the memory plan runs them: the trainer's own step, on fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from lilift.data.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.memory.simulate import Rehearsal
from lilift.memory.trace import MemoryTrace
from lilift.model.bridge import BridgedModel, attach_lora
from lilift.recipe.schema import Recipe, StageSettings
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.step import accumulate_gradients


def rehearsals(recipe: Recipe, align: Sequence[Row], transfer: Sequence[Row]) -> tuple[Rehearsal, Rehearsal]:
    """Both stages of a recipe, on the rows of their heaviest micro-batches."""
    on_gpu = recipe.card != "cpu"
    return (
        Rehearsal("align", _prepare_align, partial(_step, recipe.align, on_gpu), align),
        Rehearsal("transfer", _prepare_transfer, partial(_step, recipe.transfer, on_gpu), transfer),
    )


def _prepare_align(bridge: BridgedModel, recipe: Recipe) -> None:  # noqa: ARG001
    bridge.freeze_for_align()


def _prepare_transfer(bridge: BridgedModel, recipe: Recipe) -> None:
    attach_lora(bridge, recipe.transfer.lora)
    bridge.freeze_for_transfer()


def _step(settings: StageSettings, on_gpu: bool, bridge: BridgedModel, rows: Sequence[Row], trace: MemoryTrace) -> None:
    """One optimizer step."""
    trained = {name: parameter for name, parameter in bridge.named_parameters() if parameter.requires_grad}
    for parameter in trained.values():
        parameter.register_post_accumulate_grad_hook(_counts_gradient(trace))  # type: ignore[no-untyped-call]
    bridge.train()
    with unset_fake_temporarily():  # bitsandbytes makes its tables from numbers
        optimizer = build_optimizer(trained, settings)
    # What a paged optimizer keeps lies in host memory when the card is full.
    in_host_memory = on_gpu and settings.optimizer == "paged_adamw_8bit"
    if not in_host_memory:
        with trace.labelled("optimizer"):
            allocate_state(optimizer)
    for parameter in trained.values():  # the gradients of an earlier micro-batch are there
        parameter.grad = torch.empty_like(parameter)
        trace.add(parameter.grad, "gradients")
    guard = OutOfMemoryGuard(lambda _line: None)
    accumulate_gradients(
        bridge,
        [rows],
        list(trained.values()),
        loss_tokens=sum(len(row.response_ids) for row in rows),
        max_grad_norm=settings.max_grad_norm,
        guard=guard,
    )
    trace.enter("optimizer")
    if not in_host_memory:
        optimizer.step()


def _counts_gradient(trace: MemoryTrace) -> Callable[[nn.Parameter], None]:
    def count(parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        trace.add(parameter.grad, "gradients")

    return count
