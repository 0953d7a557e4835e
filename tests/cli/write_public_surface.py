"""Lists what users can write or rely on, one item a line: verbs, options, recipe keys and exit codes.

`python -m tests.cli.write_public_surface` writes the list anew. Run it only after you changed an item on purpose.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from lilift.cli.app import build_parser
from lilift.recipe import errors
from lilift.recipe.load import json_schema
from lilift.recipe.schema import Recipe

SURFACE = Path(__file__).with_name("public_surface.txt")
COMMAND = "python -m tests.cli.write_public_surface"
_TAKES = {
    None: "",
    0: " (takes no value)",
    "?": " (may be left out)",
    "+": " (one or more)",
    "*": " (any number)",
    "...": " (all that follows)",
}


def public_surface() -> list[str]:
    """Every item, sorted."""
    # `extends` is no field of the model: lilift joins the two files before it validates the result.
    joining = sorted(set(json.loads(json_schema())["properties"]) - set(Recipe.model_fields))
    keys = [f"recipe key {key}" for key in joining]
    return sorted([*parser_items(build_parser()), *keys, *model_items(Recipe), *exit_code_items()])


def parser_items(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A parser's verb, its options and positionals, and those of every verb below it."""
    yield f"verb {parser.prog}"
    positionals = 0
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parser_items(inner)
        elif action.option_strings:
            names = ", ".join(action.option_strings)
            needed = " (required)" if action.required else ""
            yield f"option {parser.prog} {names}{_TAKES[action.nargs]}{needed}{_choices(action.choices)}"
        else:
            positionals += 1
            name = action.metavar or action.dest
            yield f"positional {positionals} {parser.prog} {name}{_TAKES[action.nargs]}{_choices(action.choices)}"


def model_items(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of a section and of the sections in it, as `a.b`; `N` stands for the number of a list's entry."""
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        needed = " (required)" if field.is_required() else ""
        yield f"recipe key {key}{needed}{_choices(_literals(field.annotation))}"
        for inner, in_list in _models(field.annotation):
            yield from model_items(inner, f"{key}.N." if in_list else f"{key}.")


def exit_code_items() -> Iterator[str]:
    """Every exit code with the name of its constant or error."""
    for name, value in vars(errors).items():
        if name.startswith("EXIT_"):
            yield f"exit code {value}: {name}"
        elif inspect.isclass(value) and issubclass(value, errors.LiliftError):
            yield f"exit code {value.exit_code}: {name}"


def _choices(choices: Any) -> str:
    return f": {', '.join(map(str, choices))}" if choices else ""


def _literals(annotation: Any) -> list[Any]:
    """The choices of all Literals in a type, in their order."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for part in get_args(annotation) for choice in _literals(part)]


def _models(annotation: Any, in_list: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections in a type, and whether each is an entry of a list."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, in_list
    for part in get_args(annotation):
        yield from _models(part, in_list or get_origin(annotation) is tuple)


if __name__ == "__main__":
    SURFACE.write_text("\n".join(public_surface()) + "\n", encoding="utf-8")
