"""The changes that make a recipe fit a card, ordered from the cheapest to the most expensive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from lilift.memory.instant_plan import TOKEN_SETTINGS
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.simulation.simulate import LASTING
from lilift.recipe.schema import Recipe

STAGES = ("align", "transfer")
_PLACEMENT_COSTS = {
    "cached-ram": "the encoder waits in host memory and returns for every few thousand texts; results stay the same",
    "cached-disk": "the encoder reads all texts of a phase first, and its states take disk space; results stay the same",
}


_NUMBER_TYPE_COSTS = {
    "llm.dtype": "this GPU has no bfloat16 in hardware; lilift scales the loss so that small gradients survive float16",
    "encoder.dtype": "this GPU has no bfloat16 in hardware and mT5 overflows in float16; the encoder takes twice the memory",
}
_FOUR_BIT_ENCODER_COST = "this GPU has no bfloat16 in hardware and mT5 overflows in float16; the 4-bit encoder computes slower"


@dataclass(frozen=True)
class Change:
    """A change of one setting.

    Attributes:
        setting: the key in the recipe.
        before, after: the value.
        cost: what the change costs, in words.
        phase: the only phase that it affects; None if it affects all phases.
        recipe: the recipe with the change.
        saved_bytes: by how much it lowers the peak of the phase that needed it.
    """

    setting: str
    before: str
    after: str
    cost: str
    phase: str | None
    recipe: Recipe
    saved_bytes: int = 0

    @property
    def is_of_batch(self) -> bool:
        """Whether the change makes batches smaller."""
        section, _, name = self.setting.partition(".")
        return TOKEN_SETTINGS.get(section) == name

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "setting": self.setting,
            "before": self.before,
            "after": self.after,
            "cost": self.cost,
            "saved_mib": round(self.saved_bytes / 2**20, 1),
        }


def next_change(recipe: Recipe, phase: PhasePlan, limit_bytes: int) -> Change | None:
    """The cheapest change that makes `phase` smaller; None if there is nothing left to change."""
    for proposal in _ORDER:
        change = proposal(recipe, phase, limit_bytes)
        if change is not None:
            return change
    return None


def possible_changes(recipe: Recipe, phase: PhasePlan) -> list[Change]:
    """Every change that may make `phase` smaller, each alone. One that makes batches smaller halves what they take."""
    fixed = sum(size for name, size in phase.parts.items() if name in (*LASTING, "context"))
    half = fixed + (phase.peak_bytes - fixed) // 2
    proposed = [proposal(recipe, phase, half) for proposal in _ORDER]
    return [change for change in proposed if change is not None]


def number_type_changes(recipe: Recipe) -> list[Change]:
    """The changes for a GPU without bfloat16 in hardware (before Ampere, such as a T4): float16 for the LLM, float32 for the
    encoder.
    """
    found = []
    for section, after in (("llm", "float16"), ("encoder", "float32")):
        before = getattr(recipe, section).dtype
        if before != "bfloat16" or (section == "encoder" and not recipe.has_encoder):
            continue
        setting = f"{section}.dtype"
        four_bit = section == "encoder" and recipe.encoder.quantization == "nf4"
        recipe = _changed(recipe, {section: {"dtype": after}})
        cost = _FOUR_BIT_ENCODER_COST if four_bit else _NUMBER_TYPE_COSTS[setting]
        found.append(Change(setting, before, after, cost, None, recipe))
    return found


def with_change(changes: Sequence[Change], change: Change) -> list[Change]:
    """Add a change. A second change of the same setting replaces the first."""
    earlier = [one for one in changes if one.setting == change.setting]
    others = [one for one in changes if one.setting != change.setting]
    saved = change.saved_bytes + sum(one.saved_bytes for one in earlier)
    return [*others, replace(change, before=earlier[0].before if earlier else change.before, saved_bytes=saved)]


def with_batches_of(original: Recipe, recipe: Recipe) -> Recipe:
    """`recipe` with the batch sizes (in tokens) of `original`."""
    return _changed(recipe, {part: {name: getattr(getattr(original, part), name)} for part, name in TOKEN_SETTINGS.items()})


def with_recorded_changes(recipe: Recipe, changes: Sequence[Mapping[str, Any]]) -> Recipe:
    """Repeat recorded changes (see `Change.as_dict`) on a recipe, except where the recipe's setting differs from `before`."""
    for change in changes:
        section, _, name = change["setting"].partition(".")
        if getattr(getattr(recipe, section), name) == yaml.safe_load(change["before"]):
            recipe = _changed(recipe, {section: {name: yaml.safe_load(change["after"])}})
    return recipe


def shorter_rows(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with shorter and shorter rows, one row in a batch. lilift only proposes this and never does it by itself."""
    for share in (0.75, 0.5, 0.375, 0.25):
        tokens = max(64, int(recipe.data.max_tokens * share) // 32 * 32)
        if tokens >= recipe.data.max_tokens:
            return
        evaluate = {"max_new_tokens": min(recipe.evaluate.max_new_tokens, tokens), "tokens_per_batch": 16}
        stages = {stage: {"tokens_per_micro_batch": tokens} for stage in STAGES}
        yield _changed(recipe, {"data": {"max_tokens": tokens}, "evaluate": evaluate, **stages})


def _checkpointing(recipe: Recipe, phase: PhasePlan, _limit: int) -> Change | None:
    if phase.phase not in STAGES or recipe.llm.gradient_checkpointing:
        return None
    return Change(
        "llm.gradient_checkpointing",
        "false",
        "true",
        "steps take about a quarter longer; results stay the same",
        None,
        _changed(recipe, {"llm": {"gradient_checkpointing": True}}),
    )


def _smaller_micro_batch(recipe: Recipe, phase: PhasePlan, limit: int) -> Change | None:
    if phase.phase not in STAGES or phase.rows <= 1:
        return None
    rows = _rows_that_fit(phase, limit)
    tokens = rows * recipe.data.max_tokens
    return Change(
        f"{phase.phase}.tokens_per_micro_batch",
        str(getattr(recipe, phase.phase).tokens_per_micro_batch),
        str(tokens),
        "each optimizer step takes more micro-batches, each less efficient; results stay the same",
        phase.phase,
        _changed(recipe, {phase.phase: {"tokens_per_micro_batch": tokens}}),
    )


def _returned_memory(recipe: Recipe, phase: PhasePlan, _limit: int) -> Change | None:
    if recipe.card != "cpu" or phase.phase not in STAGES or getattr(recipe, phase.phase).freed_memory == "return":
        return None
    return Change(
        f"{phase.phase}.freed_memory",
        "keep",
        "return",
        "steps take longer, because the system hands out the same memory again and again; results stay the same",
        phase.phase,
        _changed(recipe, {phase.phase: {"freed_memory": "return"}}),
    )


def _fewer_answers(recipe: Recipe, phase: PhasePlan, limit: int) -> Change | None:
    if phase.phase != "evaluate" or phase.rows <= 1:
        return None
    tokens = _rows_that_fit(phase, limit) * phase.row_tokens
    return Change(
        "evaluate.tokens_per_batch",
        str(recipe.evaluate.tokens_per_batch),
        str(tokens),
        "smaller batches of questions make the evaluation slower; results stay the same",
        "evaluate",
        _changed(recipe, {"evaluate": {"tokens_per_batch": tokens}}),
    )


def _encoder_off_the_card(recipe: Recipe, _phase: PhasePlan, _limit: int) -> Change | None:
    # lilift never proposes a 4-bit encoder, because it saves less and its states lose precision.
    following = {"resident": "cached-ram", "cached-ram": "cached-disk"}.get(recipe.encoder.placement)
    stays = recipe.card == "cpu" or not recipe.has_encoder or recipe.encoder.quantization == "nf4"
    if following is None or stays:
        return None
    return Change(
        "encoder.placement",
        recipe.encoder.placement,
        following,
        _PLACEMENT_COSTS[following],
        None,
        _changed(recipe, {"encoder": {"placement": following}}),
    )


def _offloaded_checkpoints(recipe: Recipe, phase: PhasePlan, _limit: int) -> Change | None:
    if recipe.card == "cpu" or phase.phase not in STAGES or recipe.llm.gradient_checkpointing is not True:
        return None
    return Change(
        "llm.gradient_checkpointing",
        "true",
        "offload",
        "each step moves a hidden state of every layer to host memory and back; results stay the same",
        None,
        _changed(recipe, {"llm": {"gradient_checkpointing": "offload"}}),
    )


def _paged_optimizer(recipe: Recipe, phase: PhasePlan, _limit: int) -> Change | None:
    if phase.phase not in STAGES or getattr(recipe, phase.phase).optimizer == "paged_adamw_8bit":
        return None
    return Change(
        f"{phase.phase}.optimizer",
        getattr(recipe, phase.phase).optimizer,
        "paged_adamw_8bit",
        "the optimizer may keep its moments in host memory, so each optimizer step is slower",
        phase.phase,
        _changed(recipe, {phase.phase: {"optimizer": "paged_adamw_8bit"}}),
    )


_ORDER: tuple[Callable[[Recipe, PhasePlan, int], Change | None], ...] = (
    _checkpointing,
    _smaller_micro_batch,
    _returned_memory,
    _fewer_answers,
    _encoder_off_the_card,
    _offloaded_checkpoints,
    _paged_optimizer,
)


def _rows_that_fit(phase: PhasePlan, limit: int) -> int:
    """How many rows would fit if all temporary memory were proportional to them; always fewer than now."""
    fixed = sum(size for name, size in phase.parts.items() if name in (*LASTING, "context"))
    a_row = (phase.peak_bytes - fixed) / phase.rows
    return max(1, min(phase.rows - 1, int((limit - fixed) / a_row)))


def _changed(recipe: Recipe, changes: dict[str, dict[str, Any]]) -> Recipe:
    """The recipe with changed settings, validated again."""
    settings = recipe.as_dict()
    for section, values in changes.items():
        settings[section] = settings[section] | values
    return Recipe.model_validate(settings)
