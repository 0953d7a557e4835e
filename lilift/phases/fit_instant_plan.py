"""Fits the instant memory plan to the simulation of every shipped recipe, and writes `lilift/memory/fitted.json`.

``python -m lilift.phases.fit_instant_plan`` takes about two minutes on one core. Name recipes to fit only those.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from lilift.memory import instant_plan
from lilift.memory.model_configurations import load_models
from lilift.memory.plan import keeps_freed, overhead_bytes, row_tokens
from lilift.memory.planned_card import planned_card
from lilift.memory.simulation.simulate import Rehearsal, Simulation, simulate
from lilift.phases.rehearsals import rehearse
from lilift.recipe.load import load_recipe, shipped_recipes
from lilift.recipe.schema import Recipe
from lilift.recipe.storage import write_json


def fit(recipe: Recipe) -> dict[str, Any]:
    """Fit straight lines for the phases of a recipe, through its own batch and a batch with half as many rows."""
    card = planned_card(recipe.card)
    models = load_models(recipe)

    def run(rehearsal: Rehearsal, rows: int) -> Simulation:
        some = replace(rehearsal, rows=[rehearsal.rows[0]] * rows)
        return simulate(recipe, models, some, device=card.kind, expandable=card.expandable_segments)

    def overhead(simulation: Simulation, phase: str) -> int:
        return overhead_bytes(simulation, card.kind, keeps_freed=keeps_freed(recipe, phase))

    phases = {}
    for rehearsal in rehearse(recipe):
        many = max(2, len(rehearsal.rows))
        few = max(1, many // 2)
        points = [(few, run(rehearsal, few)), (many, run(rehearsal, many))]
        phases[rehearsal.name] = {
            "row_tokens": _unit(recipe, rehearsal),
            "segments": {
                segment: {
                    category: _line(
                        (few, points[0][1].segments.get(segment, {}).get(category, 0)), (many, parts.get(category, 0))
                    )
                    for category in parts
                }
                for segment, parts in points[1][1].segments.items()
            },
            "overhead": _line(*((rows, overhead(simulation, rehearsal.name)) for rows, simulation in points)),
        }
    return phases


def _unit(recipe: Recipe, rehearsal: Rehearsal) -> int:
    """Tokens of a row. The recipe's tokens in a batch, divided by this, give the number of rows."""
    return recipe.data.max_tokens if rehearsal.name != "evaluate" else row_tokens(recipe, rehearsal.rows[0])


def _line(one: tuple[int, int], other: tuple[int, int]) -> list[float]:
    slope = (other[1] - one[1]) / (other[0] - one[0])
    return [round(one[1] - slope * one[0], 1), round(slope, 1)]


def main() -> None:
    """Fit the named recipes, or all. Keep the lines of the other shipped recipes."""
    path = Path(instant_plan.__file__).with_name("fitted.json")
    shapes = {name: instant_plan.shape_of(recipe, planned_card(recipe.card).kind) for name, recipe in _recipes().items()}
    for name in sys.argv[1:] or shapes:
        found = fit(load_recipe(name))
        with FileLock(path.with_suffix(".lock")):
            fits = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            kept = {shape: lines for shape, lines in fits.items() if shape in shapes.values()}
            write_json(path, dict(sorted((kept | {shapes[name]: found}).items())))
        print(name, flush=True)


def _recipes() -> dict[str, Recipe]:
    return {name: load_recipe(name) for name in shipped_recipes()}


if __name__ == "__main__":
    main()
