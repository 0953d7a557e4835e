"""`lilift data preview | switch | translate`: show or write the examples that stage 1 reads, and translate instructions."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.cli import data_translate
from lilift.cli.language_options import language_code
from lilift.cli.recipe import add_action, add_recipe_arguments, load

if TYPE_CHECKING:
    from rich.text import Text

    from lilift.data.switching.code_switching import CodeSwitched
    from lilift.recipe.schema import Recipe

OPEN, CLOSE = "‹", "›"
SEARCHED = 1000
"""Examples without a switched word after which a preview stops looking for others."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "data",
        help="show the training data, write code-switched files, or translate instructions",
        description="Show the data that a recipe trains on, or make more of it.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    preview = add_action(
        actions,
        "preview",
        "show code-switched examples of a recipe, with the switched words marked",
        "lilift data preview tiny-cpu --count 3\n  lilift data preview my.yaml --language sw --epoch 1 --json",
    )
    add_recipe_arguments(preview)
    preview.add_argument("--count", type=_positive, default=5, metavar="N", help="examples to show (default: 5)")
    preview.add_argument("--epoch", type=_positive, default=1, metavar="N", help="show them as in this epoch (default: 1)")
    preview.add_argument("--language", metavar="CODE", help="only examples in this language")
    preview.add_argument("--json", action="store_true", help="print JSON")
    preview.set_defaults(run=run_preview)

    switch = add_action(
        actions,
        "switch",
        "write a recipe's code-switched examples to a file, one line of JSON each",
        "lilift data switch tiny-cpu --output switched.jsonl --epochs 2 --workers 4",
    )
    add_recipe_arguments(switch)
    switch.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="file to write; after an interruption, the same command continues it",
    )
    switch.add_argument("--epochs", type=_positive, default=1, metavar="N", help="number of epochs to write (default: 1)")
    switch.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="number of processes (default: 1); the file stays the same"
    )
    switch.set_defaults(run=run_switch)
    data_translate.add_action_to(actions)


def _load_switching(arguments: argparse.Namespace) -> Recipe:
    from lilift.recipe.errors import RecipeError

    recipe = load(arguments)
    if not recipe.switches_words:
        raise RecipeError("stage 1 of this recipe switches no words", where="align.texts", remedy="add `switched` to this list")
    return recipe


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def run_preview(arguments: argparse.Namespace) -> int:
    from lilift.cli.console import console, print_json
    from lilift.data.align_tasks import align_tasks
    from lilift.data.prepare import gather
    from lilift.data.switching.switched_file import switched_line
    from lilift.phases.data_tokenizers import examine_with_tokenizers
    from lilift.phases.held_out import held_out_questions
    from lilift.recipe.errors import RecipeError

    recipe = _load_switching(arguments)
    if arguments.language is not None:
        arguments.language = language_code(arguments.language)
    if arguments.language is not None and arguments.language not in recipe.languages:
        raise RecipeError(
            f"the recipe has no language {arguments.language!r}",
            where="--language",
            remedy=f"choose from {', '.join(recipe.languages)}",
        )
    data, report = gather(recipe, held_out_questions(recipe), partial(examine_with_tokenizers, recipe, None))
    tasks, epoch = align_tasks(data, recipe), arguments.epoch - 1
    chosen: list[int] = []
    unswitched: list[int] = []
    for index, example in enumerate(data.examples):
        if len(chosen) == arguments.count or len(unswitched) == SEARCHED:
            break
        found = tasks.task(example, epoch, index)[1]
        if arguments.language in (None, found.language):
            (chosen if found.swaps or arguments.json else unswitched).append(index)
    if arguments.json:
        print_json([switched_line(tasks, data.examples[index], epoch, index) for index in chosen])
        return 0
    for index in chosen or unswitched[: arguments.count]:
        task, found = tasks.task(data.examples[index], epoch, index)
        print(f"{task.id}: {_summary(found)}")
        console().print(marked(found), soft_wrap=True)
        print(f"→ {task.kind}: {task.target}\n")
    if unswitched:
        without = "1 example" if len(unswitched) == 1 else f"{len(unswitched):,} examples"
        print(f"left out of this preview: {without} without a switched word")
    for line in report.lines():
        print(line)
    return 0


def _summary(found: CodeSwitched) -> str:
    share = len(found.swaps) / found.translatable if found.translatable else 0.0
    counts = f"{len(found.swaps)} of {found.translatable} words in the dictionary"
    words = f"{counts} switched ({share:.0%}; drawn ratio {found.ratio:.0%})"
    return f"{found.language or 'mixed'}, {words}{', words moved' if found.shuffled else ''}"


def marked(found: CodeSwitched) -> Text:
    """The switched text with marks around every swapped word, in colour if the terminal has colours."""
    from rich.text import Text

    text, copied = Text(), 0
    for swap in found.swaps:
        text.append(found.text[copied : swap.start])
        text.append(f"{OPEN}{found.text[swap.start : swap.end]}{CLOSE}", style="bold green")
        copied = swap.end
    text.append(found.text[copied:])
    return text


def run_switch(arguments: argparse.Namespace) -> int:
    from lilift.data.align_tasks import align_tasks
    from lilift.data.prepare import gather
    from lilift.data.switching.switched_file import write_switched
    from lilift.phases.held_out import held_out_questions

    recipe = _load_switching(arguments)
    data, report = gather(recipe, held_out_questions(recipe))
    for line in report.lines():
        print(line)
    path = arguments.output.expanduser()
    lines, before = write_switched(
        path, align_tasks(data, recipe), data.examples, epochs=arguments.epochs, workers=arguments.workers
    )
    print(f"{path}: {lines:,} lines" + (f", {before:,} of them written before the interruption" if before else ""))
    return 0
