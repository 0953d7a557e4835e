"""`lilift eval alignment RUN`: measure how often sentences lie next to their translations, before and after stage 1."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from lilift.cli.console import HelpFormatter, print_json, print_notes, print_table
from lilift.cli.language_options import language_codes


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "eval alignment",
        help="measure how often sentences lie next to their translations",
        description="Measure on parallel sentences how often a sentence's nearest neighbour is its translation. lilift "
        "compares the mean soft tokens of the sentences, in English and in each language, with the alignment layer before and "
        "after stage 1.",
        epilog="examples:\n  lilift eval alignment runs/tiny-cpu\n"
        "  lilift eval alignment runs/mine --sentences ./flores200/devtest --languages sw,bn,th",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder, such as runs/tiny-cpu")
    parser.add_argument(
        "--sentences", default="world", metavar="DIR", help="folder with FLORES or SIB-200 files (default: generated problems)"
    )
    parser.add_argument("--languages", metavar="A,B", help="language codes (default: the recipe's)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lilift.phases.run_folder import recipe_of
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.storage import write_json

    if arguments.limit is not None and arguments.limit < 2:
        raise RecipeError(f"--limit {arguments.limit} leaves too few sentences to compare", remedy="give 2 or more")
    recipe = recipe_of(arguments.run_folder)
    from lilift.evaluate.retrieval import ALIGNMENT_QUALITY
    from lilift.memory.device import device_for
    from lilift.phases.alignment_quality import measure_alignment

    found = measure_alignment(
        recipe,
        arguments.run_folder,
        arguments.sentences,
        languages=language_codes(arguments.languages) if arguments.languages else recipe.languages,
        limit=arguments.limit,
        device=device_for(recipe.card).torch_device,
        say=partial(print, file=sys.stderr, flush=True),
    )
    path = arguments.run_folder / "evaluations" / ALIGNMENT_QUALITY
    write_json(path, found.as_dict())
    if arguments.json:
        print_json(found.as_dict())
        return 0
    rows = [(one.name, f"{100 * one.before:.1f}", f"{100 * one.after:.1f}") for one in found.languages]
    rows.append(("mean", f"{100 * found.before:.1f}", f"{100 * found.after:.1f}"))
    title = f"nearest neighbour is the translation, in % of {found.sentences} sentences (chance {100 / found.sentences:.1f})"
    print_notes(found.remarks())
    print_table(title, ("English ↔", "before stage 1", "after stage 1"), rows, right=(1, 2))
    print(f"written: {path}")
    return 0
