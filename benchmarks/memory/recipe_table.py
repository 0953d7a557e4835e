"""Write the table of all shipped recipes: the memory that the planner computes, and the memory measured on GPUs.

python -m benchmarks recipe_table            # writes docs/recipes.md, and for `lilift recipe list` lilift/memory/measured.json
python -m benchmarks recipe_table --check    # exits with 1 if it is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.shared.measuring import markdown
from benchmarks.shared.result_files import FOLDER
from lilift.memory.footprint import estimate_footprint
from lilift.memory.instant_plan import instant_plan
from lilift.memory.model_configurations import load_models
from lilift.memory.planned_card import GIB, planned_card
from lilift.recipe.load import load_recipe, shipped_recipes

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recipes.md"
MEASURED = ROOT / "lilift" / "memory" / "measured.json"
PHASES = ("align", "transfer", "evaluate")
HEAD = """# Shipped recipes

Predicted peak of each phase on the card in GiB, context and desktop (1.3 GiB) included; with a slash, what a GPU measured. `–`:
the recipe has no such phase. Downloads, disk and host memory in GiB. `lilift recipe plan NAME` has the whole of it by category,
`lilift recipe show NAME` the recipe with its comments. Made by `python -m benchmarks recipe_table`."""


def measured() -> dict[str, dict[str, float]]:
    """The most MiB that torch reserved, by recipe and phase, from the newest result of a GPU."""
    found: dict[str, Any] = {}
    for path in sorted(FOLDER.glob("*.json"), key=lambda path: path.name[-15:]):
        content = json.loads(path.read_text(encoding="utf-8"))
        part = content.get("card_memory", content if path.stem == "card_memory" else {})
        if content.get("environment", {}).get("gpu") and isinstance(part, dict):
            found |= part.get("recipes", {})
    return {
        name: {phase: figures[phase]["reserved_mib"] for phase in PHASES if phase in figures} for name, figures in found.items()
    }


def row(name: str, known: dict[str, float]) -> dict[str, object]:
    """One line of the table."""
    recipe = load_recipe(name)
    plan = instant_plan(recipe)
    card = planned_card(recipe.card)
    peaks = {phase.phase: phase.peak_bytes for phase in plan.phases}
    context = card.context_bytes / GIB
    shown = {}
    for phase in PHASES:
        text = f"{peaks[phase] / GIB:.1f}" if phase in peaks else "–"
        if phase in known:
            text += f" / {known[phase] / 1024 + context:.1f}"
        shown[phase] = text
    footprint = estimate_footprint(recipe, load_models(recipe), card, {})
    sizes = (footprint.download_bytes, footprint.disk_bytes, footprint.host_bytes)
    names = ("download", "disk", "host memory")
    return {
        "recipe": f"`{name}`",
        "LLM": recipe.llm.model.split("/")[-1],
        **shown,
        **{title: f"{size / GIB:.0f}" for title, size in zip(names, sizes, strict=True)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the table of all shipped recipes.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    arguments = parser.parse_args()
    known = measured()
    text = f"{HEAD}\n\n{markdown([row(name, known.get(name, {})) for name in shipped_recipes()])}\n"
    figures = json.dumps(known, indent=2) + "\n"
    if arguments.check:
        kept = PAGE.read_text(encoding="utf-8"), MEASURED.read_text(encoding="utf-8")
        return 0 if kept == (text, figures) else 1
    PAGE.write_text(text, encoding="utf-8")
    MEASURED.write_text(figures, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
