"""Adds the translator of `evaluate.pivot` to a memory plan.

lilift translates all questions and frees the translator before it loads the LLM, so the translator is a phase of its own in the
plan. Only with `evaluate.respond_in: asked` it stays beside the LLM, because it translates the answers. What
`lilift.translation.translator_memory` computes is added as it is: no run has measured it on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lilift.memory.phase_plan import PhasePlan, require_phase_fits
from lilift.memory.planned_card import CPU_PROCESS_BYTES, GIB, PlannedCard
from lilift.recipe.schema import PivotSettings, Recipe
from lilift.translation.translator_memory import TranslatorMemory, translator_memory

if TYPE_CHECKING:
    from lilift.memory.plan import Plan  # it needs torch

TRANSLATE = "translate"
"""The phase of the plan in which the translator alone is in memory."""


def with_translator(plan: Plan) -> Plan:
    """The plan with the translator of its recipe; the same plan without one, or if lilift does not know its size."""
    memory, on_gpu = _memory_of(plan.recipe.evaluate.pivot, plan.card)
    if memory is None:
        return plan
    if plan.card.kind == "cuda" and not on_gpu:
        beside = plan.footprint.host_bytes if plan.recipe.evaluate.respond_in == "asked" else CPU_PROCESS_BYTES
        host = max(plan.footprint.host_bytes, beside + memory.total)
        return replace(plan, footprint=replace(plan.footprint, host_bytes=host))
    return replace(plan, phases=phases_with_translator(plan.phases, plan.recipe, plan.card))


def phases_with_translator(phases: Sequence[PhasePlan], recipe: Recipe, card: PlannedCard) -> tuple[PhasePlan, ...]:
    """The phases with the translator of a recipe in the memory that they are planned for; the same phases without one."""
    memory, on_gpu = _memory_of(recipe.evaluate.pivot, card)
    if memory is None or (card.kind == "cuda" and not on_gpu):
        return tuple(phases)
    if recipe.evaluate.respond_in == "asked":
        return tuple(_beside(phase, memory) if phase.phase == "evaluate" else phase for phase in phases)
    alone = _beside(PhasePlan(TRANSLATE, {"context": card.context_bytes}), memory)
    place = next((place for place, phase in enumerate(phases) if phase.phase == "evaluate"), len(phases))
    return (*phases[:place], alone, *phases[place:])


def _memory_of(settings: PivotSettings | None, card: PlannedCard) -> tuple[TranslatorMemory | None, bool]:
    """The translator's memory (None without one, or if lilift does not know its size), and whether it is the card's."""
    on_gpu = card.kind == "cuda" and settings is not None and settings.device == "auto"
    return None if settings is None else translator_memory(settings, on_gpu=on_gpu), on_gpu


def _beside(phase: PhasePlan, memory: TranslatorMemory) -> PhasePlan:
    added = {"translator": memory.weights, "kv_cache": memory.keys_and_values, "temporaries": memory.logits}
    return replace(phase, parts=phase.parts | {name: phase.parts.get(name, 0) + size for name, size in added.items()})


def translator_line(recipe: Recipe, card: PlannedCard) -> str | None:
    """What a plan says about the translator, in words; None without one."""
    settings = recipe.evaluate.pivot
    if settings is None:
        return None
    memory, on_gpu = _memory_of(settings, card)
    if memory is None:
        return f"the plan leaves out the translator: lilift does not know the size of {settings.model}"
    place = "card" if on_gpu else "host"
    beside = "beside the LLM" if recipe.evaluate.respond_in == "asked" else "before the LLM is loaded"
    return (
        f"translator: {memory.weights / GIB:.1f} GiB of weights, {(memory.total - memory.weights) / GIB:.1f} GiB for a batch "
        f"with {settings.beam_size} hypotheses, in the {place}'s memory {beside}; computed, not measured"
    )


def require_translator_fits(plan: Plan) -> None:
    """Refuse a plan in which the translator alone does not fit.

    Raises:
        RecipeError: it needs more memory than the card has.
    """
    require_phase_fits(
        plan.phases,
        plan.card,
        TRANSLATE,
        title="the translator",
        where="evaluate.pivot",
        remedy="set evaluate.pivot.device=cpu or a smaller evaluate.pivot.beam_size, or take a smaller translator",
    )
