"""The page of verbs and options, from the argument parser of `lilift.cli.app`: usage, description, options, examples."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator

from docs.reference_pages.pages import anchor, listed, origin, plain, table
from lilift.cli.app import build_parser

INTRODUCTION = """\
# Verbs and options

`lilift VERB --help` prints the same in the terminal. `--debug`, anywhere on the line, shows the traceback of an error. Each
command ends with one of the documented [exit codes](exit_codes.md).

"""


def commands(parser: argparse.ArgumentParser | None = None) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Every command below `lilift`, verbs with their actions behind them, each with the line that lists it."""
    for action in (parser or build_parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listing in action._choices_actions:
                inner = action.choices[listing.dest]
                yield inner, listing.help or ""
                yield from commands(inner)


def has_actions(parser: argparse.ArgumentParser) -> bool:
    return any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)


def _placeholder(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper().replace("_", "-"))


def _shown(action: argparse.Action) -> str:
    """`--option VALUE` as it is typed; a place on the line as its placeholder."""
    if not action.option_strings:
        name = _placeholder(action)
        return {"+": f"{name} [{name} …]", "?": f"[{name}]"}.get(str(action.nargs), name)
    return action.option_strings[0] + (f" {_placeholder(action)}" if action.nargs != 0 else "")


def _usage(parser: argparse.ArgumentParser) -> str:
    if parser.usage:
        return parser.usage % {"prog": parser.prog}
    grouped = [group for group in parser._mutually_exclusive_groups if group.required]
    in_groups = {id(action) for group in grouped for action in group._group_actions}
    listed_actions = [action for action in parser._actions if action.dest != "help"]
    options = [action for action in listed_actions if action.option_strings and id(action) not in in_groups]
    parts = [_shown(action) for action in listed_actions if not action.option_strings]
    parts += [f"({' | '.join(_shown(action) for action in group._group_actions)})" for group in grouped]
    parts += [_shown(action) for action in options if action.required]
    return " ".join([parser.prog, *parts]) + (" [OPTION …]" if any(not action.required for action in options) else "")


def _default_and_help(action: argparse.Action) -> tuple[str, str]:
    """The default by itself, and the help without it: many texts name it in brackets at their end."""
    text = (action.help or "") % {"default": action.default}
    named = re.search(r" \(default: ([^()]*)\)", text)
    if named:
        value = named[1]
        return f"`{value}`" if value == str(action.default) else value, text.replace(named[0], "")
    value = action.default
    if value is None or value is False or value in ([], argparse.SUPPRESS):
        return "", text
    return f"`{value}`", text.replace(f" ({value})", "")


def _row(action: argparse.Action) -> tuple[str, str, str]:
    default, text = _default_and_help(action)
    choices = [str(choice) for choice in action.choices or ()]
    if choices and not all(choice in text for choice in choices):
        text += f" ({listed([f'`{choice}`' for choice in choices])})"
    names = ", ".join(f"`{name}`" for name in [_shown(action), *action.option_strings[1:]])
    return names, plain(text) + ("; **required**" if action.required and action.option_strings else ""), plain(default)


def _examples(epilog: str | None) -> str:
    """The commands of an epilog, as a block of code; other paragraphs of it are left out."""
    paragraph = (epilog or "").strip().split("\n\n")[0]
    heading, _, lines = paragraph.partition("\n")
    if heading not in ("example:", "examples:"):
        return ""
    return f"```\n{textwrap.dedent(lines)}\n```\n"


def _section(parser: argparse.ArgumentParser) -> str:
    level = "##" if parser.prog.count(" ") == 1 else "###"
    parts = [f"{level} `{parser.prog}`", "", plain(parser.description or ""), ""]
    if not has_actions(parser):
        rows = [
            _row(action)
            for action in parser._actions
            if action.dest != "help" and action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)
        ]
        parts += [f"```\n{_usage(parser)}\n```", ""]
        parts += [table(("argument", "what it does", "default"), rows), ""] if rows else []
        parts += [_examples(parser.epilog)]
    return "\n".join(parts)


def commands_page() -> str:
    found = list(commands())
    rows = [(f"[`{c.prog}`](#{anchor(c.prog)})", plain(line)) for c, line in found if not has_actions(c)]
    parts = [origin("lilift/cli"), "", INTRODUCTION + table(("command", "what it does"), rows), ""]
    parts += ["Examples to begin with:", "", _examples(build_parser().epilog)]
    return "\n".join([*parts, *(_section(parser) for parser, _ in found)]).rstrip() + "\n"
