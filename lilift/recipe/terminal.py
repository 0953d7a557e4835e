"""Whether a person sits at a terminal: somebody who sees a line change, and who can answer a question."""

from __future__ import annotations

import os
from typing import IO, Any

_KERNEL = "JPY_PARENT_PID"
"""Jupyter gives every kernel this variable, and so do the services built on it; terminals beside a notebook lack it."""


def in_notebook() -> bool:
    """Whether a cell of a notebook started this process."""
    return _KERNEL in os.environ


def is_terminal(stream: IO[Any]) -> bool:
    """Whether a stream leads to a terminal.

    A `!` line of a notebook gets a pseudo-terminal. But a page cannot move a cursor, and a program that waits for an answer
    there waits for ever. So it counts as no terminal.
    """
    return stream.isatty() and not in_notebook()
