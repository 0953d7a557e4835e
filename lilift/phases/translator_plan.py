"""Adds the translator of `evaluate.pivot` to a memory plan.

lilift translates all questions and frees the translator before it loads the LLM, so the translator is a phase of its own in the
plan. Only with `evaluate.respond_in: asked` it stays beside the LLM, because it translates the answers. What
`lilift.translation.translator_memory` computes is added as it is: no run has measured it on a GPU.
"""

from __future__ import annotations

from dataclasses import replace

from lilift.memory.phase_plan import PhasePlan, require_phase_fits
from lilift.memory.plan import Plan
from lilift.memory.planned_card import CPU_PROCESS_BYTES, GIB
from lilift.translation.translator_memory import TranslatorMemory, translator_memory

TRANSLATE = "translate"
"""The phase of the plan in which the translator alone is in memory."""


def with_translator(plan: Plan) -> Plan:
    """The plan with the translator of its recipe; the same plan without one, or if lilift does not know its size."""
    settings = plan.recipe.evaluate.pivot
    on_gpu = plan.card.kind == "cuda" and settings is not None and settings.device == "auto"
    memory = None if settings is None else translator_memory(settings, on_gpu=on_gpu)
    if memory is None:
        return plan
    stays = plan.recipe.evaluate.respond_in == "asked"
    if plan.card.kind == "cuda" and not on_gpu:
        beside = plan.footprint.host_bytes if stays else CPU_PROCESS_BYTES
        host = max(plan.footprint.host_bytes, beside + memory.total)
        return replace(plan, footprint=replace(plan.footprint, host_bytes=host))
    if stays:
        phases = [_beside(phase, memory) if phase.phase == "evaluate" else phase for phase in plan.phases]
    else:
        alone = _beside(PhasePlan(TRANSLATE, {"context": plan.card.context_bytes}), memory)
        place = next((place for place, phase in enumerate(plan.phases) if phase.phase == "evaluate"), len(plan.phases))
        phases = [*plan.phases[:place], alone, *plan.phases[place:]]
    return replace(plan, phases=tuple(phases))


def _beside(phase: PhasePlan, memory: TranslatorMemory) -> PhasePlan:
    added = {"translator": memory.weights, "kv_cache": memory.keys_and_values, "temporaries": memory.logits}
    return replace(phase, parts=phase.parts | {name: phase.parts.get(name, 0) + size for name, size in added.items()})


def translator_line(plan: Plan) -> str | None:
    """What the plan says about the translator, in words; None without one."""
    settings = plan.recipe.evaluate.pivot
    if settings is None:
        return None
    on_gpu = plan.card.kind == "cuda" and settings.device == "auto"
    memory = translator_memory(settings, on_gpu=on_gpu)
    if memory is None:
        return f"the plan leaves out the translator: lilift does not know the size of {settings.model}"
    place = "card" if on_gpu else "host"
    beside = "beside the LLM" if plan.recipe.evaluate.respond_in == "asked" else "before the LLM is loaded"
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
