"""A stage as the memory plan runs it: the trainer's own step on fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.memory.simulation.allocation_trace import MemoryTrace
from lilift.memory.simulation.simulate import Rehearsal
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import Recipe, StageName, StageSettings
from lilift.train.learner import Learner
from lilift.train.optimizer import allocate_state, build_optimizer
from lilift.train.step import accumulate_gradients

Between = Callable[[BridgedModel, MemoryTrace], None]


def rehearsal(recipe: Recipe, stage: StageName, rows: Sequence[Row], between: Between | None = None) -> Rehearsal:
    """A stage of a recipe, on the rows of its heaviest micro-batch.

    `between` is what lilift does between two steps, beside the optimizer's state.
    """
    settings: StageSettings = getattr(recipe, stage)
    run = partial(_stage_step, settings, recipe.card != "cpu", between)
    return Rehearsal(stage, partial(_prepare, stage), run, rows)


def _prepare(stage: StageName, bridge: BridgedModel, recipe: Recipe) -> None:
    trains = {name: getattr(recipe, name).trains for name in recipe.stages}
    # An earlier stage may have trained an adapter. It is present whatever this stage trains.
    if "adapter" in (trains[stage], trains.get("align")):
        attach_lora(bridge, recipe.transfer.lora)
    bridge.train_only(trains[stage])


def _stage_step(
    settings: StageSettings,
    on_gpu: bool,
    between: Between | None,
    bridge: BridgedModel,
    rows: Sequence[Row],
    trace: MemoryTrace,
) -> None:
    """One optimizer step of a stage, and what follows it."""
    rehearse_step(settings, on_gpu, bridge, rows, trace, None if between is None else partial(between, bridge, trace))


def rehearse_step(
    settings: StageSettings,
    on_gpu: bool,
    learner: Learner,
    rows: Sequence[Row],
    trace: MemoryTrace,
    between: Callable[[], None] | None = None,
) -> None:
    """One optimizer step on fake tensors, inside a trace.

    Args:
        settings: of the optimizer.
        on_gpu: whether a paged optimizer has host memory beside the card.
        learner: what learns.
        rows: of the step's micro-batch.
        trace: gets the categories of gradients and of the optimizer's state.
        between: what follows the step, without gradients.
    """
    trained = {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}
    for parameter in trained.values():
        parameter.register_post_accumulate_grad_hook(_counts_gradient(trace))  # type: ignore[no-untyped-call]
    learner.train()
    with unset_fake_temporarily():  # bitsandbytes computes its tables from real numbers
        optimizer = build_optimizer(trained, settings)
    # A paged optimizer keeps its state in host memory when the card is full.
    in_host_memory = on_gpu and settings.optimizer == "paged_adamw_8bit"
    if not in_host_memory:
        with trace.labelled("optimizer"):
            allocate_state(optimizer)
    for parameter in trained.values():  # gradients of an earlier micro-batch
        parameter.grad = torch.empty_like(parameter)
        trace.add(parameter.grad, "gradients")
    guard = OutOfMemoryGuard(lambda _line: None)
    accumulate_gradients(
        learner,
        [rows],
        list(trained.values()),
        loss_tokens=sum(len(row.response_ids) for row in rows),
        max_grad_norm=settings.max_grad_norm,
        guard=guard,
    )
    trace.enter("optimizer")
    if not in_host_memory:
        optimizer.step()
    if between is not None:
        optimizer.zero_grad(set_to_none=True)
        between()


def _counts_gradient(trace: MemoryTrace) -> Callable[[nn.Parameter], None]:
    def count(parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        trace.add(parameter.grad, "gradients")

    return count
