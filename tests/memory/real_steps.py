"""Real steps of training on a CPU, and the memory that torch's allocator records for them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.memory.simulation.simulate import LASTING, Simulation
from lilift.model.assemble_bridge import attach_lora
from lilift.model.bridge import BridgedModel
from lilift.recipe.schema import Recipe
from lilift.train.step import accumulate_gradients


def changing(simulation: Simulation) -> int:
    """Bytes that come and go, as a profiler that starts with the step sees them; gradients of an earlier micro-batch do not."""
    before = simulation.segments.get("optimizer", {}).get("gradients", 0)
    return simulation.total - before - sum(simulation.parts.get(name, 0) for name in LASTING if name != "gradients")


def allocated_by(work: Callable[[], object]) -> int:
    """The most that `work` has allocated at once, by the record of torch's allocator."""
    work()  # kernels that allocate once do it here
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = sorted(
        (event.start_ns(), event.nbytes()) for event in record.profiler.kineto_results.events() if event.name() == "[memory]"
    )
    now = most = 0
    for _, size in events:
        now += size
        most = max(most, now)
    return most


def stage_step(bridge: BridgedModel, phase: str, recipe: Recipe, rows: Sequence[Row]) -> Callable[[], object]:
    """A micro-batch of a stage with its backward pass; the bridge has gradients of an earlier one."""
    if phase == "transfer":
        attach_lora(bridge, recipe.transfer.lora)
        bridge.train_only("adapter")
    else:
        bridge.train_only("alignment")
    bridge.train()
    trained = [parameter for parameter in bridge.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)

    def step() -> None:
        guard = OutOfMemoryGuard(lambda _line: None)
        accumulate_gradients(bridge, [rows], trained, loss_tokens=9, max_grad_norm=1.0, guard=guard)

    return step
