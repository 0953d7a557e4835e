"""Predicts the memory of each phase of a recipe before any download, and changes a recipe that does not fit.

lilift runs each phase on fake tensors (`lilift.memory.simulation`) and passes the allocations through a model of torch's
allocator. Then it adds what torch does not see (the context, the desktop). If a recipe does not fit, lilift changes it step by
step; the plan names every change and its cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilift.data.texts.examples import Row
from lilift.memory.changes import (
    STAGES,
    Change,
    next_change,
    number_type_changes,
    shorter_rows,
    with_batches_of,
    with_change,
)
from lilift.memory.export_plan import export_plan
from lilift.memory.footprint import Footprint, estimate_footprint
from lilift.memory.model_configurations import load_models, loading_parts
from lilift.memory.phase_plan import HEAP_BYTES, LEAST_OVERHEAD, PhasePlan, fuller_moment, phase_on_card
from lilift.memory.planned_card import GIB, MIB, PlannedCard, planned_card, smallest_card_for
from lilift.memory.simulation.simulate import LASTING, Models, Rehearsal, Simulation, simulate
from lilift.model.alignment_layer import sequence_shape
from lilift.recipe.errors import RecipeError
from lilift.recipe.schema import Recipe

# Only the heap of small blocks has holes: a share of small tensors, and at most `HEAP_BYTES`.
HEAP_SHARE = 0.25
# The same where a stage keeps what it frees (`freed_memory: keep`).
KEPT_SHARE = 0.5
BASIS = (
    "each phase's own code on fake tensors with its heaviest batch, through a model of torch's allocator; context and desktop "
    "are estimates, and nothing is measured"
)
# BOS, and the alignment layer's two vectors before and after its soft tokens.
OWN_TOKENS = 3
Rehearse = Callable[[Recipe], Sequence[Rehearsal]]


@dataclass(frozen=True)
class Plan:
    """Predicted memory of every phase, and the memory of the card.

    Attributes:
        recipe: the recipe that will run, with all changes.
        card: the card of the plan.
        phases: one plan for each phase that holds a model.
        changes: the changes that made the recipe fit.
        footprint: what the recipe needs besides the card's memory: downloads, disk, host memory, time.
        trained: number of trained parameters in each stage.
    """

    recipe: Recipe
    card: PlannedCard
    phases: tuple[PhasePlan, ...]
    changes: tuple[Change, ...]
    footprint: Footprint
    trained: dict[str, int]

    @property
    def limit_bytes(self) -> int:
        return self.card.usable_bytes

    @property
    def peak_bytes(self) -> int:
        return max(phase.peak_bytes for phase in self.on_card)

    @property
    def margin(self) -> float:
        """Share of the card that is free at the peak; negative if the recipe does not fit."""
        return 1 - self.peak_bytes / self.card.total_bytes

    @property
    def dequantised_bytes(self) -> int:
        """What `evaluate.dequantize: auto` adds to the work of the evaluation: all dequantised weights, or 0 without room."""
        added, evaluate = self.footprint.dequantised_bytes, self.of("evaluate")
        fits = evaluate.peak_bytes - evaluate.loading_bytes + added <= self.limit_bytes
        return added if fits and self.recipe.evaluate.dequantize == "auto" else 0

    @property
    def evaluation_bytes(self) -> int:
        """Peak of the evaluation with dequantised weights, if they fit. lilift dequantises once the models are loaded."""
        evaluate = self.of("evaluate")
        return evaluate.peak_bytes + max(0, self.dequantised_bytes - evaluate.loading_bytes)

    @property
    def on_card(self) -> tuple[PhasePlan, ...]:
        """The phases that use the card's memory. The export uses the host's memory."""
        return tuple(phase for phase in self.phases if phase.phase != "export" or self.card.kind == "cpu")

    @property
    def emulates_bfloat16(self) -> bool:
        """Whether the recipe computes in bfloat16 on a card that only emulates it."""
        types = [self.recipe.llm.dtype, *([self.recipe.encoder.dtype] if self.recipe.has_encoder else [])]
        return not self.card.bfloat16 and "bfloat16" in types

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The phases that no GPU of this machine has finished yet, so that the plan adds what another GPU took."""
        return tuple(phase.phase for phase in self.on_card if not phase.confirmed)

    def of(self, phase: str) -> PhasePlan:
        return next(plan for plan in self.phases if plan.phase == phase)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, in MiB, for `plan.json` and ``--json``."""
        return {
            "recipe": self.recipe.name,
            "card": self.card.name,
            "card_mib": round(self.card.total_bytes / MIB, 1),
            "limit_mib": round(self.limit_bytes / MIB, 1),
            "peak_mib": round(self.peak_bytes / MIB, 1),
            "margin": round(self.margin, 4),
            "trained_parameters": self.trained,
            "changes": [change.as_dict() for change in self.changes],
            **self.footprint.as_dict(),
            "phases": {
                phase.phase: {
                    "peak_mib": round(phase.peak_bytes / MIB, 1),
                    "parts_mib": {name: round(size / MIB, 1) for name, size in phase.parts.items() if size},
                    "rows": phase.rows,
                    "tokens": phase.rows * phase.row_tokens,
                    "accumulation": phase.accumulation,
                }
                for phase in self.phases
            },
            "basis": BASIS,
        }


def make_plan(recipe: Recipe, rehearse: Rehearse, *, card: PlannedCard | None = None, strict: bool = False) -> Plan:
    """Predict the peak of every phase, and change the recipe if one does not fit.

    Args:
        recipe: the recipe to plan.
        rehearse: returns a recipe's phases as the planner runs them on fake tensors.
        card: plan for this card instead of the recipe's.
        strict: do not change the recipe.

    Raises:
        ModelError: a model's configuration cannot be found.
    """
    card = card or planned_card(recipe.card)
    of_number_types = [] if strict or card.bfloat16 else number_type_changes(recipe)
    if of_number_types:
        recipe = of_number_types[-1].recipe
    planner = _Planner(recipe, rehearse, card)
    changes = [] if strict else _adapted(planner)
    lasting = [change for change in changes if not change.is_of_batch]
    if planner.too_large() is None and lasting and lasting != changes:
        # lilift made batches smaller first. Later changes may have freed memory for larger batches again.
        planner.take(with_batches_of(recipe, planner.recipe))
        changes = [*lasting, *_adapted(planner)]
    phases = planner.phases()
    footprint = estimate_footprint(planner.recipe, planner.models, planner.card, planner.trained)
    return Plan(
        recipe=planner.recipe,
        card=planner.card,
        phases=(*phases, planner.export(footprint)) if planner.recipe.export.formats else phases,
        changes=(*of_number_types, *changes),
        footprint=footprint,
        trained=planner.trained,
    )


def _adapted(planner: _Planner) -> list[Change]:
    """Change the planner's recipe until it fits or there is nothing left to change."""
    changes: list[Change] = []
    while (worst := planner.too_large()) is not None:
        change = next_change(planner.recipe, worst, planner.card.usable_bytes)
        if change is None:
            break
        changes = with_change(changes, planner.apply(change, worst.phase))
    return changes


def require_fit(plan: Plan, rehearse: Rehearse, *, processes: int = 1) -> None:
    """Refuse a plan whose peak is above the card's memory.

    Raises:
        RecipeError: the plan does not fit. The error names the phase, the largest category, and the smallest change or card
            that makes it fit.
    """
    worst = max(plan.on_card, key=lambda phase: phase.peak_bytes)
    if worst.peak_bytes <= plan.limit_bytes:
        return
    raise RecipeError(
        f"phase {worst.phase!r} needs {worst.peak_bytes / GIB:.1f} GiB, and {plan.card.name} has only "
        f"{plan.limit_bytes / GIB:.1f} GiB for it; the largest part is {worst.largest} "
        f"({worst.parts[worst.largest] / GIB:.1f} GiB)",
        where=plan.recipe.name,
        remedy=_smallest_remedy(plan, rehearse, worst) + (_NOT_SHARDED if processes > 1 else ""),
    )


_NOT_SHARDED = (
    "; more processes do not help, because each holds the whole model on its card: lilift does not shard 4-bit weights (FSDP2)"
)


def _smallest_remedy(plan: Plan, rehearse: Rehearse, worst: PhasePlan) -> str:
    """The smallest remedy: a change that `--strict` forbids, shorter rows, or a larger card."""
    change = next_change(plan.recipe, worst, plan.limit_bytes)
    if change is not None:
        return f"leave out --strict, or set {change.setting}={change.after} first"
    for shorter in shorter_rows(plan.recipe):
        planner = _Planner(shorter, rehearse, plan.card)
        if planner.too_large() is None:
            return f"set data.max_tokens={shorter.data.max_tokens} (lilift then drops or cuts longer rows)"
    return f"use a card with {smallest_card_for(worst.peak_bytes)}, or a smaller LLM"


class _Planner:
    """Plans the phases of a recipe, and plans a phase again only if a change affects it."""

    def __init__(self, recipe: Recipe, rehearse: Rehearse, card: PlannedCard) -> None:
        self.recipe, self.card = recipe, card
        self._rehearse = rehearse
        self.models: Models = load_models(recipe)
        self._phases: dict[str, PhasePlan] = {}
        self.trained: dict[str, int] = {}

    def phases(self) -> tuple[PhasePlan, ...]:
        """Every phase, in order."""
        return tuple(self._of(rehearsal) for rehearsal in self._rehearse(self.recipe))

    def too_large(self) -> PhasePlan | None:
        """The largest phase, if it does not fit."""
        worst = max(self.phases(), key=lambda phase: phase.peak_bytes)
        return worst if worst.peak_bytes > self.card.usable_bytes else None

    def apply(self, change: Change, phase: str) -> Change:
        """Apply a change, and return it with the bytes that it saves in the phase that needed it."""
        before = self._phases[phase].peak_bytes
        self.take(change.recipe, phase=change.phase)
        return replace(change, saved_bytes=before - self._phases[phase].peak_bytes)

    def take(self, recipe: Recipe, *, phase: str | None = None) -> None:
        """Plan another recipe. With `phase`, the other recipe differs only in that phase."""
        self.recipe = recipe
        for name in list(self._phases) if phase is None else [phase]:
            del self._phases[name]
        self.phases()

    def export(self, footprint: Footprint) -> PhasePlan:
        """The plan of the export, which loads the trained model once more."""
        held = min(self._phases.values(), key=lambda phase: phase.parts.get("llm", 0)).parts
        loaded: dict[str, int] = {name: held[name] for name in ("encoder", "llm") if name in held}
        loaded |= {getattr(self.recipe, stage).trains: 4 * count for stage, count in self.trained.items()}
        if self.card.kind == "cpu":
            loading = loading_parts(self.recipe, self.models, loaded)
            return export_plan(self.recipe, self.models, footprint, model=loaded, loading=loading)
        return export_plan(self.recipe, self.models, footprint, model={}, loading={})

    def _of(self, rehearsal: Rehearsal) -> PhasePlan:
        if rehearsal.name not in self._phases:
            self._phases[rehearsal.name] = self._planned(rehearsal)
        return self._phases[rehearsal.name]

    def _planned(self, rehearsal: Rehearsal) -> PhasePlan:
        card = self.card
        simulation = simulate(self.recipe, self.models, rehearsal, device=card.kind, expandable=card.expandable_segments)
        # Gradients are float32, like the alignment layer and the adapter.
        trained = simulation.segments.get("optimizer", {}).get("gradients", 0) // 4
        if trained:
            self.trained[rehearsal.name] = trained
        keeps = keeps_freed(self.recipe, rehearsal.name)
        parts, overhead = simulation.parts, overhead_bytes(simulation, card.kind, keeps_freed=keeps)
        loading_bytes = 0
        if card.kind == "cpu":
            loading = loading_parts(self.recipe, self.models, simulation.parts)
            parts, overhead, loading_bytes = fuller_moment(parts, overhead, loading)
        rows, tokens = len(rehearsal.rows), row_tokens(self.recipe, rehearsal.rows[0])
        a_step = getattr(getattr(self.recipe, rehearsal.name), "tokens_per_step", 0)
        plan = phase_on_card(
            card,
            rehearsal.name,
            parts,
            overhead,
            rows=rows,
            row_tokens=tokens,
            accumulation=math.ceil(a_step / (rows * tokens)),
        )
        return replace(plan, loading_bytes=loading_bytes)


def row_tokens(recipe: Recipe, row: Row) -> int:
    """Number of positions of a row in the LLM, with BOS and the alignment layer's two vectors."""
    soft = sequence_shape(recipe.alignment).soft_length(len(row.encoder_ids))
    return soft + len(row.prompt_ids) + len(row.response_ids) + OWN_TOKENS


def keeps_freed(recipe: Recipe, phase: str) -> bool:
    """Whether the process keeps what the steps of a phase free. It counts on a CPU."""
    return phase in STAGES and getattr(recipe, phase).freed_memory == "keep"


def overhead_bytes(simulation: Simulation, kind: str = "cuda", *, keeps_freed: bool = False) -> int:
    """Bytes that the allocator keeps beyond what is in use. `kind` is that of the card; `keeps_freed` counts on a CPU."""
    changing = sum(size for name, size in simulation.parts.items() if name not in LASTING)
    if kind == "cpu":
        holes = KEPT_SHARE * changing if keeps_freed else min(HEAP_SHARE * changing, HEAP_BYTES)
        return math.ceil(holes + LEAST_OVERHEAD * simulation.total)
    return math.ceil(max(simulation.fragmentation * changing, LEAST_OVERHEAD * simulation.total))
