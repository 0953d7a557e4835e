"""Command lines made of that of this process: for the processes that it starts, and to resume its run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from lilift.processes.torchrun_environment import started_by_torchrun

PROCESSES = ("--processes", "--gpus")
"""The two names of one option: on a CPU there are no GPUs."""


def without_processes(arguments: Sequence[str]) -> list[str]:
    """A command line that argparse has accepted, without this option, also where the user shortened its name."""
    kept: list[str] = []
    following = iter(arguments)
    for argument in following:
        name, equals, _ = argument.partition("=")
        if not _names_processes(name):
            kept.append(argument)
        elif not equals:
            next(following, None)  # its value
    return kept


def _names_processes(name: str) -> bool:
    return len(name) > len("--") and name.startswith("--") and any(option.startswith(name) for option in PROCESSES)


def resume_in_new_process(arguments: argparse.Namespace) -> None:
    """Replace this process with a new one that resumes the same run."""
    sys.stdout.flush()
    sys.stderr.flush()
    debug = ["--debug"] if "--debug" in sys.argv else []
    os.execv(sys.executable, [sys.executable, "-m", "lilift", *debug, *resuming(arguments, to_end=False)])


def resuming(arguments: argparse.Namespace, *, to_end: bool) -> list[str]:
    """The command line that resumes a run: with `--resume`, and without `--restart-from`.

    Args:
        arguments: of the command that began it.
        to_end: for a user who goes on later: also past `--until`, with as many processes, and with results as tables.
    """
    words = ["recipe", "run", arguments.recipe]
    words += [word for setting in arguments.overrides for word in ("--set", setting)]
    values = {name: getattr(arguments, name) for name in ("run_folder", "processes", "memory_limit")}
    if to_end:
        started = started_by_torchrun()
        values["processes"] = started.size if started is not None and started.by_lilift else values["processes"]
    else:
        values["until"] = arguments.until
    for name, value in values.items():
        words += [f"--{name.replace('_', '-')}", str(value)] if value not in (None, 1) else []
    flags = ("strict",) if to_end else ("strict", "json")
    return [*words, *(f"--{flag}" for flag in flags if getattr(arguments, flag)), "--resume"]


def resume_command(arguments: argparse.Namespace) -> str:
    """The command with which a user goes on with a run."""
    started = started_by_torchrun()
    torchrun = "" if started is None or started.by_lilift else "torchrun … -m "
    return torchrun + shlex.join(["lilift", *resuming(arguments, to_end=True)])
