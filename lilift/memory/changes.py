"""What can be changed to make a recipe fit, from what costs least to what costs most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lilift.memory.phase_plan import PhasePlan
from lilift.memory.simulate import LASTING
from lilift.recipe.schema import Recipe

STAGES = ("align", "transfer")


@dataclass(frozen=True)
class Change:
    """One setting changed.

    Attributes:
        setting: its key in the recipe.
        before, after: its value.
        cost: what it costs, in words.
        phase: the only phase that it touches; None where it touches all.
        recipe: the recipe with the change.
        saved_bytes: how much lower the peak of the phase is that needed it.
    """

    setting: str
    before: str
    after: str
    cost: str
    phase: str | None
    recipe: Recipe
    saved_bytes: int = 0

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
    """The cheapest change that makes `phase` smaller; None where nothing is left to change."""
    for proposal in _ORDER:
        change = proposal(recipe, phase, limit_bytes)
        if change is not None:
            return change
    return None


def shorter_rows(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe with shorter and shorter rows, one at a time in memory; never done without being asked for."""
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
        "more micro-batches behind each optimizer step, each less efficient; results stay the same",
        phase.phase,
        _changed(recipe, {phase.phase: {"tokens_per_micro_batch": tokens}}),
    )


def _fewer_answers(recipe: Recipe, phase: PhasePlan, limit: int) -> Change | None:
    if phase.phase != "evaluate" or phase.rows <= 1:
        return None
    tokens = _rows_that_fit(phase, limit) * phase.row_tokens
    return Change(
        "evaluate.tokens_per_batch",
        str(recipe.evaluate.tokens_per_batch),
        str(tokens),
        "fewer questions are answered side by side: slower; results stay the same",
        "evaluate",
        _changed(recipe, {"evaluate": {"tokens_per_batch": tokens}}),
    )


def _four_bit_encoder(recipe: Recipe, _phase: PhasePlan, _limit: int) -> Change | None:
    if recipe.encoder.quantization == "nf4":
        return None
    return Change(
        "encoder.quantization",
        recipe.encoder.quantization,
        "nf4",
        "the encoder's states lose precision: train and evaluate with the same setting",
        None,
        _changed(recipe, {"encoder": {"quantization": "nf4"}}),
    )


def _paged_optimizer(recipe: Recipe, phase: PhasePlan, _limit: int) -> Change | None:
    if phase.phase not in STAGES or getattr(recipe, phase.phase).optimizer == "paged_adamw_8bit":
        return None
    return Change(
        f"{phase.phase}.optimizer",
        getattr(recipe, phase.phase).optimizer,
        "paged_adamw_8bit",
        "the optimizer's moments may lie in host memory: each optimizer step is slower",
        phase.phase,
        _changed(recipe, {phase.phase: {"optimizer": "paged_adamw_8bit"}}),
    )


_ORDER: tuple[Callable[[Recipe, PhasePlan, int], Change | None], ...] = (
    _checkpointing,
    _smaller_micro_batch,
    _fewer_answers,
    _four_bit_encoder,
    _paged_optimizer,
)


def _rows_that_fit(phase: PhasePlan, limit: int) -> int:
    """How many rows would fit if all that comes and goes were in proportion to them; always fewer than now."""
    fixed = sum(size for name, size in phase.parts.items() if name in (*LASTING, "context"))
    a_row = (phase.peak_bytes - fixed) / phase.rows
    return max(1, min(phase.rows - 1, int((limit - fixed) / a_row)))


def _changed(recipe: Recipe, changes: dict[str, dict[str, Any]]) -> Recipe:
    """The recipe with settings changed, checked anew."""
    settings = recipe.as_dict()
    for section, values in changes.items():
        settings[section] = settings[section] | values
    return Recipe.model_validate(settings)
