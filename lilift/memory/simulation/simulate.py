"""What a phase of a recipe holds in memory: the phase's own code, run on fake tensors.

A phase is run with two layers and with four, and each part of it extrapolated: where a part's fullest moment lies (with the
first layer or with the last) does not depend on how many layers stand between, so that its memory is linear in their number
and the result equal to that of all layers, byte for byte.
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
from lilift.memory.simulation.fake_models import depth_of, fake_bridge, fake_encoder, replace_real_parameters, with_depth
from lilift.memory.simulation.operator_scratch import expansions, temporary, transients
from lilift.model.bridge import BridgedModel
from lilift.model.encoders.encoder_states import BATCH_TOKENS
from lilift.model.llms.output_head import backbone_of
from lilift.recipe.schema import Recipe

SHALLOW, DEEP = 2, 4
# Categories that stay as they are while rows come and go.
LASTING = ("llm", "encoder", "alignment", "adapter", "gradients", "optimizer")
READING = "the encoder reads ahead"
Models = tuple[PreTrainedConfig, PreTrainedConfig | None]  # the LLM's configuration and the encoder's


@dataclass(frozen=True)
class Rehearsal:
    """A phase as the planner runs it.

    Attributes:
        name: of the phase.
        prepare: adds to the bridge what the phase brings along, an adapter say.
        run: does on a bridge what the phase does on its heaviest rows; called under `FakeTensorMode`, with the trace watching.
        rows: those rows.
    """

    name: str
    prepare: Callable[[BridgedModel, Recipe], None]
    run: Callable[[BridgedModel, Sequence[Row], MemoryTrace], None]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Simulation:
    """What a phase holds.

    Attributes:
        parts: bytes by category at the fullest moment.
        segment: the part of the phase that this moment is in.
        fragmentation: what the allocator keeps beyond what is in use, as a share of what comes and goes.
        segments: bytes by category at the fullest moment of every part.
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
    """The fullest moment of a phase.

    Args:
        recipe: what to do.
        models: configurations of the LLM and the encoder.
        rehearsal: the phase.
        device: ``cuda`` or ``cpu``, which differ in what an operator takes for itself.
        expandable: whether torch's allocator has expandable segments.
        exact: run all layers instead of extrapolating.
    """
    llm, encoder = models
    depth, encoder_depth = depth_of(llm), depth_of(encoder) if encoder is not None else 0
    if exact or depth <= DEEP:
        trace = run_traced(recipe, models, rehearsal, device=device)
        segments = trace.segments | _reading(recipe, encoder, trace.segments, device)
        return _fullest(segments, _fragmentation(trace, expandable=expandable))
    shallow, deep = (
        run_traced(
            recipe,
            (with_depth(llm, layers), with_depth(encoder, layers) if encoder is not None and encoder_depth > DEEP else encoder),
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


def _reading(
    recipe: Recipe, encoder_config: PreTrainedConfig | None, segments: dict[str, Moment], device: str
) -> dict[str, Moment]:
    """What is on the card while the encoder reads ahead, where it does not stay there."""
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
    if placement == "cached-ram":  # all else that lasts is there too; gradients are not, between two steps
        for name in ("llm", "alignment", "adapter", "optimizer"):
            parts[name] = max((moment.parts.get(name, 0) for moment in segments.values()), default=0)
    return {READING: Moment(parts, sum(parts.values()))}


def run_traced(recipe: Recipe, models: Models, rehearsal: Rehearsal, *, device: str) -> MemoryTrace:
    """Run a phase once, at the depth that the configurations say."""
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
        with trace:
            rehearsal.run(bridge, rehearsal.rows, trace)
    return trace


def _fullest(segments: dict[str, Moment], fragmentation: float) -> Simulation:
    name = max(segments, key=lambda name: segments[name].total)
    if name == READING:  # the phase's own comings and goings say nothing of it
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
        # A shallow encoder is whole in both runs.
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
    """A row of these lengths that says nothing."""
    return Row((0,) * source, (0,) * prompt, (0,) * response)
