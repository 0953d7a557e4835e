"""Printing on the command line: help, text and tables for people, JSON for scripts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class HelpFormatter(argparse.HelpFormatter):
    """Wraps descriptions at the width of the terminal, and leaves a text with line breaks (examples) as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return indent + text if "\n" in text else super()._fill_text(text, width, indent)


def console() -> Console:
    """A console on standard output. Without a terminal, it is plain and 120 columns wide, so that table rows stay whole.

    It prints texts as they are: brackets, as in `pip install 'lilift[train]'`, and words between colons are no markup.
    """
    from rich.console import Console

    if is_terminal(sys.stdout):
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    return Console(highlight=False, markup=False, emoji=False, width=120, color_system=None)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def print_notes(notes: Sequence[str]) -> None:
    """Print notes, which are no errors, to standard error: standard output may hold JSON or answers."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Table:
    """Make a table. The columns whose numbers are in `right` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index in right else "left")
    for row in rows:
        made.add_row(*row)
    return made
