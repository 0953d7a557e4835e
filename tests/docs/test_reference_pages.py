"""The reference pages: as the code says, and complete; and commands and keys that other pages name exist."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.reference_pages.exit_codes import exit_codes
from docs.reference_pages.pages import GENERATED, anchor, generated_pages, plain, table
from docs.reference_pages.recipe_keys import recipe_keys
from lilift.cli.app import _joined, build_parser
from lilift.recipe import errors
from lilift.recipe.load import load_recipe, shipped_recipes
from tests.docs.conftest import ROOT

WRITTEN_BY_HAND = sorted(
    {ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - {GENERATED / name for name in generated_pages()}
)
SECTIONS = ("encoder", "llm", "alignment", "data", "align", "transfer", "evaluate", "export")


def page(name: str) -> str:
    return (GENERATED / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(generated_pages()))
def test_a_committed_page_is_what_the_code_says(name: str) -> None:
    assert page(name) == generated_pages()[name], f"run `python -m docs.reference_pages` and commit docs/reference/{name}"


def settings(value: Any, path: str = "") -> Iterator[str]:
    """The dotted keys of a recipe that was written out; entries of a list have `[]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from settings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from settings(value[0], f"{path}[]")
    else:
        yield path


def test_every_key_of_the_shipped_recipes_has_a_heading_of_its_own() -> None:
    text = page("recipe.md")
    # Their keys are languages and tasks.
    mappings = ("data.lexicons.", "data.translations.", "data.monolingual.files.", "align.target.")
    for name in shipped_recipes():
        for key in settings(load_recipe(name).as_dict()):
            key = next((mapping[:-1] for mapping in mappings if key.startswith(mapping)), key)
            assert re.search(rf"^##+ `{re.escape(key)}`$", text, flags=re.MULTILINE), f"{name}: {key}"


def test_a_key_tells_type_range_default_and_meaning() -> None:
    entry = page("recipe.md").split("### `data.max_tokens`\n")[1].split("###")[0]
    assert "whole number (at least 16) · default: `1280`" in entry
    assert "Longest row of the LLM" in entry
    assert "`resident`, `cached-ram` or `cached-disk` · default: `resident`" in page("recipe.md")
    assert "### `llm.model`\n\ntext · **required**" in page("recipe.md")


def test_headings_of_keys_are_told_apart_by_their_anchors() -> None:
    anchors = [anchor(line) for line in re.findall(r"^#+ (.*)$", page("recipe.md"), flags=re.MULTILINE)]
    assert len(anchors) == len(set(anchors))
    assert [key.path for key in recipe_keys()].count("data.held_out") == 1


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command as its words with the options that its own help names."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))
    if not inner:
        yield (
            words,
            re.findall(r"(?<![\w-])--[a-z][a-z-]*(?=[ ,\n])", parser.format_help().split("options:")[1].split("example")[0]),
        )


def test_every_verb_has_a_heading_and_every_option_a_row() -> None:
    found = list(leaves(build_parser()))
    assert len(found) > 20
    for words, options in found:
        command = " ".join(("lilift", *words))
        section = re.split(rf"^##+ `{command}`$", page("commands.md"), flags=re.MULTILINE)[1].split("\n##")[0]
        for option in {*options} - {"--help"}:
            assert re.search(rf"^\| .*`{option}[` ]", section, flags=re.MULTILINE), f"{command} {option}"
        assert f"#{'-'.join(('lilift', *' '.join(words).split()))})" in page("commands.md")


def test_every_exit_code_is_explained_as_in_the_help() -> None:
    codes = {error.exit_code for error in errors.LiliftError.__subclasses__() if error.__module__ == errors.__name__}
    codes |= {errors.EXIT_OK, errors.EXIT_BUG, errors.EXIT_INTERRUPTED, errors.EXIT_TERMINATED}
    assert set(exit_codes()) == codes
    assert all(f"| {code} | {meaning[0]}" in page("exit_codes.md") for code, (meaning, _) in exit_codes().items())
    epilog = (build_parser().epilog or "").split("exit codes:")[1]
    assert {int(code) for code in re.findall(r"(?<!\S)\d+(?=\s)", epilog)} == codes


def commands_in(path: Path) -> Iterator[str]:
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if line.startswith("lilift "))


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_on_a_page_are_understood(path: Path) -> None:
    for line in commands_in(path):
        words = shlex.split(line.split(" > ")[0], comments=True)[1:]
        if words not in (["--help"], ["--version"]):
            build_parser().parse_args(_joined([word.strip("[]") if word.startswith("[-") else word for word in words]))


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_recipe_keys_on_a_page_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    text = text.split("## How the parts answer a question")[0]  # there, they are keys of lilift.json
    for key in re.findall(rf"`((?:{'|'.join(SECTIONS)})(?:\.[a-z_]+)+)[`:=]", text):
        if not key.endswith((".gguf", ".safetensors", ".parquet", ".md", ".json")):
            assert re.search(rf"^##+ `{re.escape(key)}`$", page("recipe.md"), flags=re.MULTILINE), key


def test_the_page_on_cards_names_every_shipped_recipe_at_its_card() -> None:
    rows = re.findall(
        r"^\| (no GPU|T4|\d+ GB) \| (.*) \|$", (ROOT / "docs/guide/card_and_models.md").read_text(encoding="utf-8"), re.M
    )
    named = {
        card.replace("no GPU", "cpu").replace(" GB", "gb").lower(): {*re.findall(r"`([^`]+)`", text)} for card, text in rows
    }
    shipped: dict[str, set[str]] = {}
    for name in shipped_recipes():
        if not name.startswith("baseline-"):
            shipped.setdefault(load_recipe(name).card, set()).add(name)
    assert named == shipped


def test_text_of_the_program_does_not_become_markup() -> None:
    assert plain("a *b* <c> `d*`") == "a \\*b\\* \\<c> `d*`"
    assert table(("x",), [("a|b",)]).endswith("| a\\|b |")
    assert anchor("`evaluate.benchmarks[].name`") == "evaluatebenchmarksname"
