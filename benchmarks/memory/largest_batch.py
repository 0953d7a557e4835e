"""Finds the largest stage-2 micro-batch that fits on a card, with few plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from lilift.data.texts.examples import Row
from lilift.memory.phase_plan import phase_on_card
from lilift.memory.plan import overhead_bytes
from lilift.memory.planned_card import planned_card
from lilift.memory.simulation.simulate import READING, Models, Simulation, simulate
from lilift.phases.rehearsals import heaviest_rows
from lilift.recipe.schema import Recipe
from lilift.train.stage_rehearsal import rehearsal as rehearse_stage

FIRST = (8, 16)  # rows of the first two plans, which give the line; from about 2,700 tokens on the MLP computes in tiles
MOST_PLANS = 6  # for one card


@dataclass
class BatchesOfRecipe:
    """Plans of stage 2 for micro-batches of one kind of row. All cards share them.

    Attributes:
        recipe, models: the recipe, and the configurations of its LLM and encoder.
        rows_of: that many rows.
        row_tokens: positions of a row in the LLM.
    """

    recipe: Recipe
    models: Models
    rows_of: Callable[[int], list[Row]]
    row_tokens: int
    _planned: dict[int, Simulation] = field(default_factory=dict)

    def plan(self, count: int) -> Simulation:
        """The simulation of a micro-batch of this many rows."""
        if count not in self._planned:
            rehearsal = rehearse_stage(self.recipe, "transfer", self.rows_of(count))
            self._planned[count] = simulate(self.recipe, self.models, rehearsal, device="cuda", expandable=True)
        return self._planned[count]

    @property
    def bytes_of_row(self) -> float:
        """Bytes that each further row takes in tensors while the LLM works."""
        less, more = (self._working(count) for count in FIRST)
        return (more - less) / (FIRST[1] - FIRST[0])

    def _working(self, count: int) -> int:
        """Bytes at the peak, except that of an encoder that reads ahead: this one does not depend on the rows."""
        segments = self.plan(count).segments
        return max(sum(parts.values()) for name, parts in segments.items() if name != READING)

    def room(self, card_name: str, count: int) -> int:
        """Bytes that a micro-batch leaves free on a card; negative if it does not fit."""
        card, simulation = planned_card(card_name), self.plan(count)
        overhead = overhead_bytes(simulation)
        plan = phase_on_card(card, "transfer", simulation.parts, overhead, rows=count, row_tokens=self.row_tokens)
        return card.usable_bytes - plan.peak_bytes

    def most_tokens(self, card_name: str) -> int:
        """Tokens of the largest micro-batch that a plan has confirmed, at most one row below the largest of all."""
        a_row = self.bytes_of_row
        fits, too_large = 0, 10**9
        count = max(1, FIRST[1] + int(self.room(card_name, FIRST[1]) // a_row))
        for _ in range(MOST_PLANS):
            room = self.room(card_name, count)
            if room >= 0:
                fits = count
            else:
                too_large = count
            following = min(too_large - 1, max(fits + 1, count + int(room // a_row)))
            if following <= fits or 0 <= room < a_row:
                break
            count = following
        return fits * self.row_tokens


def batches_of_shipped(recipe: Recipe, models: Models) -> BatchesOfRecipe:
    """The heaviest rows that a recipe allows, in micro-batches of any size."""
    return BatchesOfRecipe(recipe, models, partial(_heaviest, recipe), recipe.data.max_tokens)


def _heaviest(recipe: Recipe, count: int) -> list[Row]:
    return heaviest_rows(recipe, recipe.transfer)[:1] * count


def with_settings(recipe: Recipe, *, placement: str | None = None, offload: bool = False) -> Recipe:
    """The recipe with another placement of the encoder, or with checkpoints in host memory."""
    changes = {}
    if placement is not None:
        changes["encoder"] = recipe.encoder.model_copy(update={"placement": placement})
    if offload:
        changes["llm"] = recipe.llm.model_copy(update={"gradient_checkpointing": "offload"})
    return recipe.model_copy(update=changes)
