"""How results are printed: text and tables for people, JSON where a script reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console() -> Console:
    """Standard output; plain and wide enough to keep table rows whole where it is not a terminal."""
    from rich.console import Console

    return (
        Console(highlight=False, soft_wrap=True)
        if sys.stdout.isatty()
        else Console(highlight=False, width=120, color_system=None)
    )


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def print_notes(notes: Sequence[str]) -> None:
    """What is worth knowing and no error; beside standard output, which may be JSON or answers."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Table:
    """A table; the columns numbered in `right` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index in right else "left")
    for row in rows:
        made.add_row(*row)
    return made
