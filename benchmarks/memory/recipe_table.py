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

from benchmarks.memory.model_facts import ENCODER_NAMES, LANGUAGES, LICENCES
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

This page helps you to compare the shipped recipes. `lilift recipe plan NAME` shows the memory of one by category, and
`lilift recipe show NAME` prints the recipe with its comments.

- **align**, **transfer**, **evaluate**: predicted peak of the phase on the card in GiB, context and desktop (1.3 GiB) included.
  After a slash: what a GPU measured. `–`: the recipe has no such phase.
- **tokens/s**: training speed that a GPU measured in stage 2. `–`: nobody has measured it.
- **download**, **disk**, **host memory**: in GiB. The download counts the weights that lilift uses. The image encoder of
  Gemma 3 and of Ministral 3 comes on top, about 0.8 GiB.
- **licences**: of the LLM's weights, then of the encoder's if it is another. Read the models' pages before you publish a
  result. For a gated model, accept its licence on its page first.

`python -m benchmarks recipe_table` writes this page."""
TAIL = "## Languages of the encoders\n\nAn encoder helps only with languages that it has read."


def results() -> dict[str, Any]:
    """What GPUs measured, by recipe and phase, from the newest result of each."""
    found: dict[str, Any] = {}
    for path in sorted(FOLDER.glob("*.json"), key=lambda path: path.name[-15:]):
        content = json.loads(path.read_text(encoding="utf-8"))
        part = content.get("card_memory", content if path.stem == "card_memory" else {})
        if content.get("environment", {}).get("gpu") and isinstance(part, dict):
            found |= part.get("recipes", {})
    return found


def measured(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The most MiB that torch reserved, by recipe and phase."""
    return {
        name: {phase: figures[phase]["reserved_mib"] for phase in PHASES if phase in figures} for name, figures in found.items()
    }


def row(name: str, known: dict[str, float], speed: float | None) -> dict[str, object]:
    """One line of the table.

    Args:
        name: of the recipe.
        known: measured MiB by phase.
        speed: measured tokens a second in stage 2, if any.
    """
    recipe = load_recipe(name)
    plan = instant_plan(recipe)
    card = planned_card(recipe.card)
    peaks = {phase.phase: phase.peak_bytes for phase in plan.phases}
    context = card.context_bytes / GIB
    encoder = ENCODER_NAMES.get(recipe.encoder.model, recipe.encoder.model)
    licences = [LICENCES[model] for model in (recipe.llm.model, recipe.encoder.model) if model != "none"]
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
        "encoder": encoder,
        **shown,
        "tokens/s": f"{speed:,.0f}" if speed is not None else "–",
        **{title: f"{size / GIB:.0f}" if size > GIB else f"{size / GIB:.1f}" for title, size in zip(names, sizes, strict=True)},
        "licences": "; ".join(dict.fromkeys(licences)),
    }


def languages() -> str:
    """The languages that each encoder has read."""
    return "\n".join([TAIL, "", *(f"- **{name}**: {text}." for name, text in LANGUAGES.items())])


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the table of all shipped recipes.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is out of date")
    arguments = parser.parse_args()
    found = results()
    known = measured(found)
    speeds = {name: figures.get("transfer", {}).get("tokens_per_second") for name, figures in found.items()}
    rows = [row(name, known.get(name, {}), speeds.get(name)) for name in shipped_recipes()]
    text = f"{HEAD}\n\n{markdown(rows)}\n\n{languages()}\n"
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
