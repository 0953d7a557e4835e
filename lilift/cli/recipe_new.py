"""`lilift recipe new`: ask for a language, a dictionary, exercises, questions, a card and an LLM, and write a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lilift.cli.console import HelpFormatter
from lilift.recipe.terminal import is_terminal

Answer = TypeVar("Answer")
OPTIONS = ("language", "dictionary", "exercises", "benchmark", "card", "llm")


def add_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "new",
        help="write a recipe for your language, from a few answers",
        description="Write a recipe for your language. lilift asks in the terminal for every answer that you do not give as an "
        "option. It checks each answer at once, and writes a short commented recipe that extends the nearest shipped one. "
        "Without a terminal, lilift asks nothing.",
        epilog="examples:\n  lilift recipe new\n"
        "  lilift recipe new hausa.yaml --language ha --dictionary ha.tsv --card 12gb --llm qwen3-4b-12gb\n"
        "  lilift recipe new --language Hausa --dictionary wiktionary --exercises train.jsonl --benchmark problems.csv \\\n"
        "      --card 24gb --llm Qwen/Qwen2.5-7B-Instruct",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="file to write (default: LANGUAGE.yaml)")
    parser.add_argument("--language", metavar="NAME", help="the language to teach: a code or a name")
    parser.add_argument(
        "--dictionary",
        metavar="PLACE",
        help="a dictionary from English into the language: a file, a folder of lexicons, or publishers such as "
        "gatitos,wiktionary",
    )
    parser.add_argument(
        "--exercises",
        "--instructions",
        metavar="PLACE",
        help="English exercises with responses: a file (`'train.csv question=q,response=r'` names its columns), a data set on "
        "the Hugging Face hub, or `default` for those of the shipped recipe (without a terminal: default)",
    )
    parser.add_argument(
        "--benchmark",
        metavar="PLACE",
        help="questions in the language with right answers: a file or folder of yours "
        "(`'problems.csv question=swali,answer=jibu'` names its columns), the name of a benchmark, or `none` (without a "
        "terminal: none)",
    )
    parser.add_argument("--card", metavar="CARD", help="the card to train on: cpu, 8gb, 12gb, 16gb, 24gb, t4, rtx4090 …")
    parser.add_argument(
        "--llm", metavar="MODEL", help="a shipped recipe, the name of an LLM on the Hugging Face hub, or a folder"
    )
    parser.add_argument("--replace", action="store_true", help="replace the file if it exists")
    parser.set_defaults(run=run)


class Questions:
    """Takes each answer from its option, or asks for it in the terminal until it is right.

    Args:
        given: the answers from the command line, by option; None for an answer that was not given.
        ask: shows a question and returns the answer; None without a terminal.
    """

    def __init__(self, given: dict[str, str | None], ask: Callable[[str], str] | None) -> None:
        self._given, self._ask = given, ask

    def answer(
        self, option: str, question: str, check: Callable[[str], Answer], *, example: str = "", default: str | None = None
    ) -> Answer:
        """One checked answer.

        Raises:
            LiliftError: the option's value is wrong, or it is missing and there is no terminal and no default.
        """
        from lilift.recipe.errors import LiliftError, RecipeError

        given = self._given[option]
        if given is not None:
            return check(given.strip())
        if self._ask is None:
            if default is None:
                raise RecipeError(
                    f"`lilift recipe new` needs --{option}, because it cannot ask without a terminal",
                    remedy=f"add --{option}, such as --{option} {example}",
                )
            return check(default)
        number = f"{OPTIONS.index(option) + 1}/{len(OPTIONS)}"
        prompt = f"\n{number}  {question}{f' [{default}]' if default else ''}: "
        while True:
            text = self._ask(prompt).strip() or default
            if not text:
                print(f"    Please answer, for example: {example}")
                continue
            try:
                return check(text)
            except LiliftError as error:
                print(f"    {error}")


def run(arguments: argparse.Namespace) -> int:
    from lilift.recipe.errors import EXIT_INTERRUPTED

    given = {option: getattr(arguments, option) for option in OPTIONS}
    try:
        make(given, arguments.file, replace=arguments.replace, ask=_ask if is_terminal(sys.stdin) else None)
    except KeyboardInterrupt:
        print("\nlilift: interrupted; lilift wrote no recipe", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _ask(prompt: str) -> str:
    from lilift.recipe.errors import RecipeError

    try:
        return input(prompt)
    except EOFError:
        print()  # the question has no end of line yet
        raise RecipeError(
            "the answers ended early, so lilift wrote no recipe", remedy="start `lilift recipe new` again"
        ) from None


def make(given: dict[str, str | None], file: Path | None, *, replace: bool, ask: Callable[[str], str] | None) -> None:
    """Take and check the answers, write the recipe, and print the next commands."""
    from lilift.data.languages import language
    from lilift.phases.new_recipe.answer_checks import (
        AS_SHIPPED,
        NONE,
        check_benchmark,
        check_dictionary,
        check_exercises,
    )
    from lilift.phases.new_recipe.language_fit import about_encoder, about_language
    from lilift.phases.new_recipe.nearest_recipe import check_card, check_llm, recipes_for
    from lilift.phases.new_recipe.recipe_draft import Draft, check_file

    questions = Questions(given, ask)
    if ask is not None and None in given.values():
        print(
            f"{len(OPTIONS)} questions; lilift checks each answer. Enter takes what is in [ ], Ctrl-C stops and writes nothing"
        )
    known = questions.answer(
        "language", "Which language? A code or a name", lambda text: _foreign(language(text)), example="ha"
    )
    path = file or Path(f"{known.name.lower().split()[0]}.yaml")
    check_file(path, replace=replace)
    _print_lines(about_language(known))
    dictionary = questions.answer(
        "dictionary",
        f"A dictionary from English into {known.name}? A file, a folder, or {_publishers(known.code)}",
        lambda text: _shown(check_dictionary(text, known)),
        example=f"{known.code}.tsv",
    )
    exercises = questions.answer(
        "exercises",
        "English exercises with responses? A file, a data set on the hub, or `default`",
        lambda text: _shown(check_exercises(text, dictionary.lexicon)),
        example="train.jsonl",
        default=AS_SHIPPED,
    )
    benchmark = questions.answer(
        "benchmark",
        f"Questions in {known.name} with right answers? A file, a folder, a benchmark, or `none`",
        lambda text: _shown(check_benchmark(text, known, exercises)),
        example="problems.csv",
        default=NONE,
    )
    card = questions.answer(
        "card", "Which card? cpu, 8gb, 12gb, 16gb, 24gb, t4, or a name such as rtx4090", check_card, example="12gb"
    )
    offered = recipes_for(card)
    llm = questions.answer(
        "llm",
        f"Which LLM? A name on the hub, a folder, or a shipped recipe: {', '.join(offered)}",
        lambda text: _shown(check_llm(text, card)),
        example=offered[0],
    )
    _print_lines(about_encoder(known, llm.base))
    draft = Draft(path, known, card, dictionary, exercises, benchmark, llm)
    draft.write(replace=replace)
    print(f"\nwritten: {draft.path}, which extends {llm.base.name}\n\nnext")
    for command in draft.commands:
        print(f"  {command}")


def _foreign(known: Any) -> Any:
    from lilift.recipe.errors import RecipeError

    if known.code == "en":
        raise RecipeError("the LLM already knows English", remedy="name the language that it should learn")
    return known


def _publishers(code: str) -> str:
    from lilift.data.lexicons.publishers import sources_for

    found: Sequence[str] = sources_for(code)
    return f"a publisher: {', '.join(found)}" if found else "`lilift lexicon induce --help` where nobody has published one"


def _shown(answer: Answer) -> Answer:
    """The answer, after printing what lilift found."""
    _print_lines(getattr(answer, "lines", ()))
    return answer


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"    {line}")
