"""A new, changed or removed option, recipe key or exit code is a decision, never an accident."""

from __future__ import annotations

import argparse
import difflib
from typing import Literal

from pydantic import BaseModel

from tests.cli.write_public_surface import COMMAND, SURFACE, model_items, parser_items, public_surface


def test_verbs_options_recipe_keys_and_exit_codes_are_those_that_were_decided() -> None:
    decided = SURFACE.read_text(encoding="utf-8").splitlines()
    changed = [line for line in difflib.ndiff(decided, public_surface()) if line[0] in "+-"]
    assert not changed, "\n".join(
        ["the public surface has changed:", *changed, f"If you meant it, write {SURFACE.name} anew: {COMMAND}"]
    )


def test_the_list_shows_verbs_options_positionals_and_choices() -> None:
    parser = argparse.ArgumentParser(prog="tool", add_help=False)
    parser.add_argument("--loud", action="store_true")
    verb = parser.add_subparsers().add_parser("sing", add_help=False)
    verb.add_argument("song", nargs="?")
    verb.add_argument("--key", required=True, choices=("c", "d"))
    assert list(parser_items(parser)) == [
        "verb tool",
        "option tool --loud (takes no value)",
        "verb tool sing",
        "positional 1 tool sing song (may be left out)",
        "option tool sing --key (required): c, d",
    ]


def test_the_list_shows_keys_in_sections_lists_and_unions() -> None:
    class Inner(BaseModel):
        size: Literal["small", "large"] | None = None

    class Outer(BaseModel):
        one: Inner
        many: tuple[Inner, ...] = ()
        weights: dict[Literal["a", "b"], float] = {}

    assert list(model_items(Outer)) == [
        "recipe key one (required)",
        "recipe key one.size: small, large",
        "recipe key many",
        "recipe key many.N.size: small, large",
        "recipe key weights: a, b",
    ]
