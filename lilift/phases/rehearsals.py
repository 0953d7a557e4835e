"""Gives the memory planner the code of each phase to rehearse, with the heaviest batch that the recipe allows.

A rehearsal runs a phase's own code on fake tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lilift.data.texts.examples import Row
from lilift.evaluate.evaluation_rehearsal import rehearsal as rehearse_evaluation
from lilift.memory.changes import Change, possible_changes
from lilift.memory.model_configurations import layer_count
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.plan import OWN_TOKENS, Plan, make_plan, require_fit, row_tokens
from lilift.memory.planned_card import PlannedCard
from lilift.memory.simulation.allocation_trace import MemoryTrace
from lilift.memory.simulation.simulate import Rehearsal, example_row
from lilift.model.alignment_layer import sequence_shape
from lilift.model.bridge import BridgedModel
from lilift.model.layer_swap import check_zones
from lilift.phases.adapt_encoder.adaptation_plan import require_adaptation_fits, with_adaptation
from lilift.phases.answering.watched_answers import watch_tokens
from lilift.phases.translator_plan import require_translator_fits, with_translator
from lilift.recipe.schema import Recipe, StageName, StageSettings
from lilift.train.stage_rehearsal import Between
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage

# Tokens of the prompt template around a question that the LLM reads as text.
TEMPLATE_TOKENS = 48
# Tokens of a short prompt template, for rows with few positions in the LLM.
SHORTEST_PROMPT = 4
# How many settings `largest_savings` returns.
SHOWN_SAVINGS = 3


def plan_recipe(recipe: Recipe, *, card: PlannedCard | None = None, strict: bool = False) -> Plan:
    """Plan every phase of a recipe; see `make_plan`. An adaptation of the encoder and the translator of `evaluate.pivot` are
    among them.

    Raises:
        RecipeError: the LLM has too few layers for `transfer.layer_swap`.
    """
    if recipe.transfer.layer_swap is not None:
        check_zones(recipe.transfer.layer_swap, layer_count(recipe.llm))
    return with_adaptation(with_translator(make_plan(recipe, rehearse, card=card, strict=strict)))


def require_plan_fits(plan: Plan, *, processes: int = 1) -> None:
    """Refuse a plan that does not fit; see `require_fit`."""
    require_adaptation_fits(plan)
    require_translator_fits(plan)
    require_fit(plan, rehearse, processes=processes)


def fullest_phase(plan: Plan) -> PhasePlan:
    """The phase on the card with the highest peak."""
    return max(plan.on_card, key=lambda phase: phase.peak_bytes)


def largest_savings(plan: Plan) -> list[Change]:
    """The changes that free most memory in the fullest phase, each alone, the largest first. It plans that phase for each."""
    fullest = fullest_phase(plan)
    if not any(rehearsal.name == fullest.phase for rehearsal in rehearse(plan.recipe)):
        return []  # the settings of the stages do not change it

    def only_fullest(recipe: Recipe) -> Sequence[Rehearsal]:
        return [rehearsal for rehearsal in rehearse(recipe) if rehearsal.name == fullest.phase]

    found = []
    for change in possible_changes(plan.recipe, fullest):
        after = make_plan(change.recipe, only_fullest, card=plan.card, strict=True).of(fullest.phase)
        found.append(replace(change, saved_bytes=fullest.peak_bytes - after.peak_bytes))
    useful = [change for change in found if change.saved_bytes > 0]
    return sorted(useful, key=lambda change: -change.saved_bytes)[:SHOWN_SAVINGS]


def rehearse(recipe: Recipe) -> Sequence[Rehearsal]:
    """Rehearsals of the phases that hold a model on the card, each with the heaviest batch that the recipe allows."""
    stages = [
        rehearse_stage(recipe, name, heaviest_rows(recipe, getattr(recipe, name)), _watch(recipe, name))
        for name in recipe.stages
    ]
    dequantises = recipe.evaluate.dequantize is True
    return *stages, rehearse_evaluation(heaviest_questions(recipe), dequantises=dequantises)


def _watch(recipe: Recipe, stage: StageName) -> Between | None:
    """The questions that lilift watches between two steps of a stage (`evaluate.during`), if any."""
    if recipe.watched_in(stage) is None:
        return None
    questions = heaviest_questions(recipe, watch_tokens(recipe, stage))

    def answer(bridge: BridgedModel, trace: MemoryTrace) -> None:
        trace.begin_part("watch")
        rehearse_evaluation(questions).run(bridge, questions, trace)

    return answer


def heaviest_rows(recipe: Recipe, stage: StageSettings) -> list[Row]:
    """A full micro-batch of the longest rows that the recipe allows: half question, half response."""
    longest = recipe.data.max_tokens
    if recipe.uses_monolingual and stage is recipe.align:  # every token has loss
        return [example_row(source=0, prompt=1, response=longest - OWN_TOKENS - 1)] * max(
            1, stage.tokens_per_micro_batch // longest
        )
    if sequence_shape(recipe.alignment).pool > 1:
        row = _pooled_row(recipe)
        return [row] * max(1, stage.tokens_per_micro_batch // row_tokens(recipe, row))
    return [_row(recipe, longest // 2, longest)] * max(1, stage.tokens_per_micro_batch // longest)


def heaviest_questions(recipe: Recipe, tokens: int | None = None) -> list[Row]:
    """A full batch of questions that take half a sequence, with room for the longest answers.

    Args:
        recipe: its limits are the lengths.
        tokens: of the batch; by default `evaluate.tokens_per_batch`.
    """
    pooled = sequence_shape(recipe.alignment).pool > 1
    row = _pooled_row(recipe) if pooled else _row(recipe, recipe.data.max_tokens // 2, recipe.data.max_tokens)
    answer = recipe.evaluate.max_new_tokens
    prompt = row_tokens(recipe, row) - len(row.response_ids)
    return [Row(row.encoder_ids, row.prompt_ids, (0,) * answer)] * max(
        1, (tokens or recipe.evaluate.tokens_per_batch) // (prompt + answer)
    )


def _pooled_row(recipe: Recipe) -> Row:
    """The row with most encoder tokens for its positions in the LLM, if a layer makes one soft token from several states."""
    source = recipe.encoder.max_tokens
    text = recipe.data.max_tokens // 2 if recipe.alignment.layout == "soft+text" else 0
    soft = sequence_shape(recipe.alignment).soft_length(source)
    return _row(recipe, max(source, text), min(recipe.data.max_tokens, soft + text + OWN_TOKENS + SHORTEST_PROMPT + 1))


def _row(recipe: Recipe, question: int, whole: int) -> Row:
    """A row of `whole` positions whose question has `question` tokens, in the encoder and in the LLM."""
    layout = recipe.alignment.layout
    text = min(question, whole // 3) if layout == "soft+text" else question
    source = max(1, min(text, recipe.encoder.max_tokens)) if recipe.has_encoder else 0
    soft = sequence_shape(recipe.alignment).soft_length(source)
    prompt = min(TEMPLATE_TOKENS + (0 if layout == "soft" else text), max(0, whole - soft - OWN_TOKENS - 1))
    return example_row(source=source, prompt=prompt, response=max(1, whole - soft - prompt - OWN_TOKENS))
