"""Every example in a help text is a command that can be pasted into a shell: it parses, whatever explains it is a comment."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from lilift.cli.app import _joined, build_parser


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def examples(epilog: str) -> Iterator[str]:
    heading, _, rest = epilog.partition(":\n")
    if heading not in ("example", "examples"):
        return
    for line in rest.partition("\n\n")[0].replace("\\\n", " ").splitlines():
        if "lilift" in line:
            yield line.strip()


EXAMPLES = sorted({line for parser in parsers(build_parser()) for line in examples(parser.epilog or "")})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_parses_when_it_is_pasted(example: str) -> None:
    words = shlex.split(example, comments=True)
    while "=" in words[0]:  # a variable for this command
        del words[0]
    for sign in ("<", ">"):
        if sign in words:
            del words[words.index(sign) :]
    assert words[0] == "lilift"
    build_parser().parse_args(_joined(words[1:]))
