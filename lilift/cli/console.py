"""Printing on the command line: help, text and tables for people, JSON for scripts."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from lilift.recipe.terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_NO_BREAK = "\0"
_PLAIN_COLUMNS = 120
_UNLIMITED = 10_000
_NARROWEST_PROSE = 12
"""Columns of the terminal that a broken cell keeps."""


class HelpFormatter(argparse.HelpFormatter):
    """Wraps texts at the width of the terminal, but never inside a command or an option, so that they can be copied.

    A text with line breaks (examples) stays as it is.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return indent + text if "\n" in text else "\n".join(indent + line for line in wrapped(text, width - len(indent)))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width)


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most this width. What stands between backquotes stays on one line, however long it is."""
    text = " ".join(text.split())
    whole = re.sub(r"`[^`]*`", lambda found: found.group().replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def console(columns: int = _PLAIN_COLUMNS) -> Console:
    """A console on standard output. Without a terminal, it is plain and has many columns, so that table rows stay whole.

    It prints texts as they are: brackets, as in `pip install 'lilift[train]'`, and words between colons are no markup.
    """
    from rich.console import Console

    if is_terminal(sys.stdout):
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    return Console(highlight=False, markup=False, emoji=False, width=columns, color_system=None)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def print_notes(notes: Sequence[str]) -> None:
    """Print notes, which are no errors, to standard error: standard output may hold JSON or answers."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def print_table(
    title: str | None,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    prose: Sequence[int] = (),
) -> None:
    """Print a table. If it is wider than the terminal, print a line for each row instead: no name is ever cut or broken.

    Args:
        title: above the table.
        columns: their names.
        rows: their cells.
        right: the columns that are aligned to the right.
        prose: the columns whose cells may be broken into lines, because nobody copies them.
    """
    from rich.measure import Measurement

    out, made = console(), _table(title, columns, rows, right=right, prose=prose)
    least = Measurement.get(out, out.options.update(max_width=_UNLIMITED), made).minimum
    if least <= out.width or not is_terminal(sys.stdout):
        console(max(_PLAIN_COLUMNS, least)).print(made, soft_wrap=False)
        return
    if title:
        print(f"{title}\n")
    for row in rows:
        cells = [f"{column} {cell}".strip() for column, cell in zip(columns[1:], row[1:], strict=True) if cell]
        print(f"{row[0] or columns[0]}\n    {'; '.join(cells)}")
    print()


def _table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int], prose: Sequence[int]
) -> Table:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if index in right else "left"
        if index in prose:
            made.add_column(column, justify=justify, min_width=_NARROWEST_PROSE)
        else:
            longest = max(map(cell_len, (column, *(row[index] for row in rows))))
            made.add_column(column, justify=justify, no_wrap=True, min_width=longest)
    for row in rows:
        made.add_row(*row)
    return made
