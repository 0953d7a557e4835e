"""The errors that a user can cause or repair, each with its exit code.

Each error is one line: what happened, where, and what to do about it. The command line prints that line and exits with the
error's code. It shows a traceback only with ``--debug``.
"""

from __future__ import annotations

import sys
from pathlib import Path

EXIT_OK = 0
"""Done."""
EXIT_BUG = 1
"""A bug in lilift. Repeat the command with `--debug`, and report what it prints."""
EXIT_INTERRUPTED = 130
"""Ctrl-C. A run saved everything first."""
EXIT_TERMINATED = 143
"""SIGTERM. A run saved everything first."""


class LiliftError(Exception):
    """An error that the user can act on.

    Args:
        what: what happened, in plain words, without a full stop.
        where: the file, line, setting or row.
        remedy: what to do about it, as an imperative sentence without a full stop.
    """

    exit_code = EXIT_BUG
    printed = False
    """Whether one of several processes has printed the error for all of them."""

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = str(where) if where is not None else None
        self.remedy = remedy
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line: ``where: what; remedy``."""
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return " ".join(f"{place}{self.what}{remedy}".split())


class RecipeError(LiliftError):
    """The command line, a recipe or a setting is wrong, or a plan cannot fit the card."""

    exit_code = 2


class DataError(LiliftError):
    """lilift cannot use training data, a lexicon, a benchmark or a prompt template."""

    exit_code = 3


class ModelError(LiliftError):
    """lilift cannot find, download or use a model or tokenizer."""

    exit_code = 4


class RunFolderError(LiliftError):
    """A run folder or checkpoint is damaged, is in use, or belongs to another recipe."""

    exit_code = 5


class TrainingError(LiliftError):
    """Training cannot continue: the loss is not a number, or memory is exhausted."""

    exit_code = 6


class EnvironmentUnfit(LiliftError):
    """The machine lacks something: a GPU, a driver, an optional package."""

    exit_code = 7


class StorageError(LiliftError):
    """The disk is full, or a folder cannot be written."""

    exit_code = 8


def print_error(line: str) -> None:
    """Print the line of an error on standard error in one write, because several processes may write there."""
    sys.stderr.write(f"lilift: {line}\n")
    sys.stderr.flush()
