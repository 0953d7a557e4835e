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
MOST_PLANS = 4  # for one card, besides the plans of other cards
CLOSE = 0.02  # a batch is large enough if it leaves less than this share of the card free


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
        """Tokens of the largest micro-batch that a plan has confirmed: one more row does not fit, or 2% of the card is left."""
        close = max(self.bytes_of_row, CLOSE * planned_card(card_name).total_bytes)
        for _ in range(MOST_PLANS):
            rooms = {count: self.room(card_name, count) for count in sorted(self._planned)}
            fits = max((count for count, room in rooms.items() if room >= 0), default=0)
            if fits and rooms[fits] < close:
                break
            too_large = min((count for count in rooms if count > fits), default=None)
            following = self._between(rooms, fits, too_large)
            if following <= fits:
                break
            self.plan(following)
        rooms = {count: self.room(card_name, count) for count in self._planned}
        return self.row_tokens * max((count for count, room in rooms.items() if room >= 0), default=0)

    def _between(self, rooms: dict[int, int], fits: int, too_large: int | None) -> int:
        """The rows that would fit on the line from the nearest plan: below the plan that is too large, if there is one."""
        nearest = too_large if too_large is not None and not fits else fits
        a_row = self.bytes_of_row
        if too_large is not None and fits:
            a_row = max(a_row, (rooms[fits] - rooms[too_large]) / (too_large - fits))
        following = nearest + int(rooms[nearest] // a_row)
        if too_large is not None:
            return min(following, too_large - 1)
        return max(following, fits + 1)


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
