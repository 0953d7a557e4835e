"""Explains a memory plan: what takes the memory of its fullest phase, and which settings would free most of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lilift.memory.changes import Change, possible_changes
from lilift.memory.phase_plan import PhasePlan
from lilift.memory.plan import Plan, Rehearse, make_plan
from lilift.memory.simulation.simulate import Rehearsal
from lilift.recipe.schema import Recipe

SHOWN = 3
"""Number of settings that an explanation shows."""


def fullest_phase(plan: Plan) -> PhasePlan:
    """The phase on the card with the highest peak."""
    return max(plan.on_card, key=lambda phase: phase.peak_bytes)


def largest_savings(plan: Plan, rehearse: Rehearse) -> list[Change]:
    """The changes that free most memory in the fullest phase, each alone, the largest first. It plans that phase for each.

    Args:
        plan: the plan.
        rehearse: returns a recipe's phases, as for `make_plan`.
    """
    fullest = fullest_phase(plan)

    def only_fullest(recipe: Recipe) -> Sequence[Rehearsal]:
        return [rehearsal for rehearsal in rehearse(recipe) if rehearsal.name == fullest.phase]

    found = []
    for change in possible_changes(plan.recipe, fullest):
        after = make_plan(change.recipe, only_fullest, card=plan.card, strict=True).of(fullest.phase)
        found.append(replace(change, saved_bytes=fullest.peak_bytes - after.peak_bytes))
    useful = [change for change in found if change.saved_bytes > 0]
    return sorted(useful, key=lambda change: -change.saved_bytes)[:SHOWN]
