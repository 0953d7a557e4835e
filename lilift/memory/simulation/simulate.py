"""Simulates the memory of a phase: lilift runs the phase's own code on fake tensors.

lilift runs a phase with two layers and with four, and extrapolates each part of it. The peak of a part is at the first layer or
at the last one, however many layers are between them. So its memory is linear in the number of layers, and the result is equal
to a run of all layers, byte for byte.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedConfig

from lilift.data.texts.examples import Row
from lilift.memory.simulation.allocation_trace import MemoryTrace, Moment
from lilift.memory.simulation.allocator import replay
from lilift.memory.simulation.fake_models import (
    depth_of,
    fake_bridge,
    fake_encoder,
    one_text_in_a_row,
    products_of_any_precision,
    replace_real_parameters,
    with_depth,
)
from lilift.memory.simulation.operator_scratch import expansions, temporary, transients
from lilift.memory.simulation.shortened_loops import shortened_loops
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder_states import BATCH_TOKENS
from lilift.model.llms.output_head import backbone_of
from lilift.recipe.schema import Recipe

SHALLOW, DEEP = 2, 4
# Categories that keep their size during the batches of a phase.
LASTING = ("llm", "encoder", "alignment", "adapter", "gradients", "optimizer")
READING = "the encoder reads ahead"
Models = tuple[PreTrainedConfig, PreTrainedConfig | None]  # configurations of the LLM and of the encoder


@dataclass(frozen=True)
class Rehearsal:
    """A phase as the planner runs it.

    Attributes:
        name: the name of the phase.
        prepare: adds the parts of this phase to the bridge, such as an adapter.
        run: does the work of the phase on its heaviest rows. It is called under `FakeTensorMode`, inside the trace.
        rows: the heaviest rows.
    """

    name: str
    prepare: Callable[[BridgedModel, Recipe], None]
    run: Callable[[BridgedModel, Sequence[Row], MemoryTrace], None]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Simulation:
    """The memory of a phase.

    Attributes:
        parts: bytes by category at the peak.
        segment: the part of the phase that has the peak.
        fragmentation: memory that the allocator keeps beyond what is in use, as a share of the temporary memory.
        segments: bytes by category at the peak of every part.
    """

    parts: dict[str, int]
    segment: str
    fragmentation: float
    segments: dict[str, dict[str, int]]

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def simulate(
    recipe: Recipe, models: Models, rehearsal: Rehearsal, *, device: str, expandable: bool, exact: bool = False
) -> Simulation:
    """Compute the peak of a phase.

    Args:
        recipe: the recipe of the run.
        models: configurations of the LLM and the encoder.
        rehearsal: the phase.
        device: ``cuda`` or ``cpu``; they differ in the inner memory of operators.
        expandable: whether torch's allocator has expandable segments.
        exact: run all layers instead of extrapolating.
    """
    llm, encoder = models
    depth, encoder_depth = depth_of(llm), depth_of(encoder) if encoder is not None else 0
    if exact or depth <= DEEP:
        trace = run_traced(recipe, models, rehearsal, device=device)
        segments = trace.segments | _reading(recipe, encoder, trace.segments, device)
        return _fullest(segments, _fragmentation(trace, expandable=expandable))
    # A layer that mixes the encoder's layers keeps the states of all of them, which do not grow with the LLM's depth.
    shrinks = encoder_depth > DEEP and recipe.alignment.layers == "last"
    shallow, deep = (
        run_traced(
            recipe,
            (with_depth(llm, layers), with_depth(encoder, layers) if encoder is not None and shrinks else encoder),
            rehearsal,
            device=device,
        )
        for layers in (SHALLOW, DEEP)
    )
    segments = {
        name: _extrapolated(moment, shallow.segments.get(name, Moment()), depth, encoder_depth)
        for name, moment in deep.segments.items()
    }
    segments |= _reading(recipe, encoder, segments, device)
    return _fullest(segments, _fragmentation(deep, expandable=expandable))


def simulate_encoder(
    trace_of: Callable[[PreTrainedConfig], MemoryTrace], config: PreTrainedConfig, *, expandable: bool
) -> Simulation:
    """Compute the peak of a phase in which the encoder is alone.

    Args:
        trace_of: runs the phase once, with an encoder of this configuration.
        config: of the encoder.
        expandable: whether torch's allocator has expandable segments.
    """
    depth = depth_of(config)
    if depth <= DEEP:
        trace = trace_of(config)
        return _fullest(trace.segments, _fragmentation(trace, expandable=expandable))
    shallow, deep = (trace_of(with_depth(config, layers)) for layers in (SHALLOW, DEEP))
    segments = {
        name: _extrapolated(moment, shallow.segments.get(name, Moment()), depth, depth)
        for name, moment in deep.segments.items()
    }
    return _fullest(segments, _fragmentation(deep, expandable=expandable))


def _reading(
    recipe: Recipe, encoder_config: PreTrainedConfig | None, segments: dict[str, Moment], device: str
) -> dict[str, Moment]:
    """The memory of the card while the encoder reads ahead; empty if the encoder stays on the card."""
    placement = recipe.encoder.placement
    if placement == "resident" or device == "cpu":
        return {}
    trace = MemoryTrace()
    with FakeTensorMode():
        encoder = fake_encoder(recipe, encoder_config)
        trace.enter(READING)
        trace.add_module(encoder, "encoder")
        length = min(recipe.encoder.max_tokens, BATCH_TOKENS)
        ids = torch.empty(BATCH_TOKENS // length, length, dtype=torch.int64)
        with trace:
            encoder(ids, torch.empty_like(ids, dtype=torch.bool))
    parts = dict(trace.segments[READING].parts)
    if (
        placement == "cached-ram"
    ):  # other lasting parts are on the card too, except gradients, which are released between two steps
        for name in ("llm", "alignment", "adapter", "optimizer"):
            parts[name] = max((moment.parts.get(name, 0) for moment in segments.values()), default=0)
    return {READING: Moment(parts, sum(parts.values()))}


def run_traced(recipe: Recipe, models: Models, rehearsal: Rehearsal, *, device: str) -> MemoryTrace:
    """Run a phase once, with the number of layers in the configurations."""
    llm, encoder = (copy.deepcopy(config) for config in models)
    trace = MemoryTrace(expansions=expansions(device), temporary=temporary(), transients=transients(device))
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        bridge = fake_bridge(recipe, llm, encoder, device=device)
    rehearsal.prepare(bridge, recipe)
    with fake:
        replace_real_parameters(bridge)
        trace.enter("load")
        for name, parameter in bridge.llm.named_parameters():
            if "lora_" in name:
                trace.add(parameter, "adapter")
        if bridge.states is None:
            trace.add_module(bridge.encoder, "encoder")
        for part, category in ((bridge.alignment, "alignment"), (bridge.llm, "llm")):
            trace.add_module(part, category)
        _mark_segments(bridge, trace)
        with trace, products_of_any_precision(recipe), one_text_in_a_row(), shortened_loops():
            rehearsal.run(bridge, rehearsal.rows, trace)
    return trace


def _fullest(segments: dict[str, Moment], fragmentation: float) -> Simulation:
    name = max(segments, key=lambda name: segments[name].total)
    if name == READING:  # the fragmentation of the phase itself does not apply here
        fragmentation = 0.0
    return Simulation(segments[name].parts, name, fragmentation, {key: moment.parts for key, moment in segments.items()})


def _fragmentation(trace: MemoryTrace, *, expandable: bool) -> float:
    found = replay(trace.events, expandable=expandable)
    fullest = max(trace.segments.values(), key=lambda moment: moment.total)
    changing = sum(size for name, size in fullest.parts.items() if name not in LASTING)
    return (found.reserved - found.allocated) / max(1, changing)


def _extrapolated(deep: Moment, shallow: Moment, depth: int, encoder_depth: int) -> Moment:
    parts = {}
    for name, size in deep.parts.items():
        # Both runs have all layers of a shallow encoder.
        layers = max(encoder_depth, DEEP) if name == "encoder" else depth
        a_layer = (size - shallow.parts.get(name, 0)) / (DEEP - SHALLOW)
        parts[name] = round(size + (layers - DEEP) * a_layer)
    return Moment(parts, sum(parts.values()))


def _mark_segments(bridge: BridgedModel, trace: MemoryTrace) -> None:
    """Name the parts of a step: the encoder, the forward pass, and the two halves of the backward pass."""
    bridge.encoder.register_forward_pre_hook(lambda *_: trace.enter("encoder"))
    bridge.causal_lm.get_input_embeddings().register_forward_pre_hook(lambda *_: trace.enter("forward"))
    layers = decoder_layers(bridge)
    for index, layer in enumerate(layers):
        segment = "backward, last layers" if 2 * index >= len(layers) else "backward, first layers"
        layer.register_forward_hook(_marks_gradient(segment, trace))


def _marks_gradient(segment: str, trace: MemoryTrace) -> Callable[..., None]:
    def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
        states: Tensor = output[0] if isinstance(output, tuple) else output
        if states.requires_grad:
            states.register_hook(lambda _gradient: trace.enter(segment))  # type: ignore[no-untyped-call]

    return hook


def decoder_layers(bridge: BridgedModel) -> nn.ModuleList:
    """The LLM's layers."""
    depth = depth_of(bridge.causal_lm.config)
    return next(
        module
        for module in backbone_of(bridge.causal_lm).modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    )


def example_row(*, source: int, prompt: int, response: int) -> Row:
    """A row with these lengths, without content."""
    return Row((0,) * source, (0,) * prompt, (0,) * response)
