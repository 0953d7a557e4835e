"""Adds the adaptation of the encoder to a memory plan.

The encoder is alone in memory then, before the LLM is loaded. lilift runs one step of the adaptation on fake tensors, as it
does for the stages.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedConfig, PreTrainedModel

from lilift.data.adaptation_rows import HIDDEN, LONGEST, SHOWN, TOKENS_PER_STEP
from lilift.data.texts.examples import Row
from lilift.memory.model_configurations import load_config, stored_bytes
from lilift.memory.phase_plan import PhasePlan, fuller_moment, phase_on_card, require_phase_fits
from lilift.memory.plan import Plan, overhead_bytes
from lilift.memory.planned_card import PlannedCard
from lilift.memory.simulation.allocation_trace import MemoryTrace
from lilift.memory.simulation.fake_models import fake_encoder, replace_real_parameters
from lilift.memory.simulation.operator_scratch import expansions, temporary, transients
from lilift.memory.simulation.simulate import simulate_encoder
from lilift.model.encoders.adaptable_encoder import AdaptableEncoder, with_lora
from lilift.model.encoders.masked_token_head import MOST_CLASSES, NewHead, brings_head
from lilift.recipe.schema import AdaptSettings, Recipe
from lilift.train.adaptation.adapt_encoder import stage_settings
from lilift.train.adaptation.masked_learner import MaskedLearner
from lilift.train.stage_rehearsal import rehearse_step

ADAPT = "adapt"


def with_adaptation(plan: Plan) -> Plan:
    """The plan with the adaptation of the encoder as its first phase; the same plan if the recipe adapts none.

    Raises:
        ModelError: lilift cannot adapt this encoder.
    """
    settings = plan.recipe.encoder.adapt
    if settings is None:
        return plan
    phase, trained = _planned(plan.recipe, settings, plan.card)
    return replace(plan, phases=(phase, *plan.phases), trained={ADAPT: trained, **plan.trained})


def require_adaptation_fits(plan: Plan) -> None:
    """Refuse a plan in which the adaptation alone does not fit.

    Raises:
        RecipeError: it needs more memory than the card has.
    """
    require_phase_fits(
        plan.phases,
        plan.card,
        ADAPT,
        title="the adaptation of the encoder",
        where="encoder.adapt",
        remedy="choose a smaller encoder, set encoder.dtype=bfloat16, or remove encoder.adapt",
    )


class _SharedHead(nn.Module):
    """The size of an encoder's own head, which scores every token with the embeddings."""

    def __init__(self, half: PreTrainedModel) -> None:
        super().__init__()
        self._embeddings = [half.get_input_embeddings()]  # in a list, so that they stay the encoder's

    def forward(self, states: Tensor) -> Tensor:
        weight: Tensor = self._embeddings[0].weight
        return (states @ weight.T).float()

    def classes(self, tokens: Tensor) -> Tensor:
        return tokens


def _planned(recipe: Recipe, settings: AdaptSettings, card: PlannedCard) -> tuple[PhasePlan, int]:
    """The plan of the phase, and the number of parameters that it trains."""
    config = load_config(recipe.encoder.model, recipe.encoder.revision)
    length = min(LONGEST, recipe.encoder.max_tokens)
    asked = math.ceil((HIDDEN + SHOWN) * length)
    rows = [Row((0,) * length, tuple(range(asked)), (0,) * asked)] * max(1, TOKENS_PER_STEP // length)
    trace_of = partial(_traced, recipe, settings, rows, card)
    simulation = simulate_encoder(trace_of, config, expandable=card.expandable_segments)
    parts, overhead, loading_bytes = simulation.parts, overhead_bytes(simulation, card.kind), 0
    if card.kind == "cpu":
        parts, overhead, loading_bytes = fuller_moment(parts, overhead, _loading(recipe, config, parts["encoder"]))
    plan = phase_on_card(card, ADAPT, parts, overhead, rows=len(rows), row_tokens=length, accumulation=1)
    trained = simulation.segments["optimizer"]["gradients"] // 4  # in float32
    return replace(plan, loading_bytes=loading_bytes), trained


def _traced(
    recipe: Recipe, settings: AdaptSettings, rows: list[Row], card: PlannedCard, config: PreTrainedConfig
) -> MemoryTrace:
    """One step of the adaptation, with all layers in this configuration."""
    trace = MemoryTrace(expansions=expansions(card.kind), temporary=temporary(), transients=transients(card.kind))
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    whole = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"quantization": "none"})})
    with fake:
        encoder = fake_encoder(whole, config)
    half = encoder.model
    classes = min(int(config.get_text_config().vocab_size), MOST_CLASSES)
    head: Any = _SharedHead(half) if brings_head(config) else NewHead(encoder.hidden_size, range(classes), seed=recipe.seed)
    with_lora(half, settings.rank, seed=recipe.seed)
    learner = MaskedLearner(AdaptableEncoder(half, half, encoder.tokenizer, 0, frozenset(), None), head)
    with fake:
        for module in (half, head):
            replace_real_parameters(module)
        trace.enter("load")
        for _, parameter in learner.named_parameters():
            if parameter.requires_grad:
                trace.add(parameter, "adapter")
        trace.add_module(half, "encoder")
        with trace:
            trace.enter("step")
            chosen = stage_settings(steps=settings.steps, rate=settings.learning_rate)
            rehearse_step(chosen, card.kind != "cpu", learner, rows, trace)
    return trace


def _loading(recipe: Recipe, config: PreTrainedConfig, encoder: int) -> dict[str, int]:
    """Bytes by category while the encoder loads on a CPU: its files may be mapped beside it, and its own head comes first,
    with a copy of its body.
    """
    itemsize = getattr(torch, recipe.encoder.dtype).itemsize
    stored = stored_bytes(config)
    mapped = 0 if itemsize == stored else encoder // itemsize * stored
    return {"encoder": encoder, "temporaries": mapped + encoder * brings_head(config)}
