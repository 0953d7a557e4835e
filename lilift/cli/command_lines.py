"""The command line of this process without some options, for a process that goes on with the same command."""

from __future__ import annotations

from collections.abc import Sequence

PROCESSES = ("--processes", "--gpus")
"""The two names of one option: on a CPU there are no GPUs."""


def without_options(arguments: Sequence[str], *, valued: Sequence[str] = (), plain: Sequence[str] = ()) -> list[str]:
    """A command line without these options, also where the user shortened their names as argparse allows.

    Args:
        arguments: a command line that argparse has accepted, without `lilift`.
        valued: options with a value.
        plain: options without one.
    """
    kept: list[str] = []
    following = iter(arguments)
    for argument in following:
        name = argument.partition("=")[0]
        if _is_short_for(name, valued):
            if name == argument:
                next(following, None)
        elif not _is_short_for(name, plain):
            kept.append(argument)
    return kept


def _is_short_for(name: str, options: Sequence[str]) -> bool:
    return name.startswith("--") and len(name) > len("--") and any(option.startswith(name) for option in options)
