"""Pairs of words from dictionary files as they are published; the format is recognised from the content.

- Two columns with a tab between them, English first: GATITOS, Wiktionary (WECHSEL), AfroMT, MUSE as some republish it, any TSV.
- Two words with a space between them: MUSE as published.
- A table whose first line names a language per column, English first.
- PanLex's archive of Swadesh lists (`lilift.data.lexicons.swadesh`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

from lilift.data.languages import language, languages
from lilift.data.lexicons.swadesh import read_swadesh
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError


class Pair(NamedTuple):
    """An English entry and its translation, as the file has them; no translation where the line has another format."""

    english: str
    translation: str | None
    weight: float = 1.0


def read_pairs(path: Path, code: str) -> Iterator[Pair]:
    """The pairs of a dictionary file for one language.

    Args:
        path: the file, gzipped or not.
        code: the language; picks the column of a table.

    Raises:
        DataError: the file cannot be read, is a table without the language, or most of its lines are not pairs.
    """
    if path.is_file() and is_zipfile(path):
        yield from (Pair(english, expression) for english, expression in read_swadesh(path, code))
        return
    column, tabbed = 1, True
    lines = 0
    malformed: list[int] = []
    for number, line in read_lines(path):
        if not line.strip():
            continue
        lines += 1
        if lines == 1:
            tabbed = "\t" in line
            if tabbed and _is_table_head(line):
                column = _column_of(code, line, path)
                continue
        cells = line.split("\t") if tabbed else line.split()
        if len(cells) <= column or (not tabbed and len(cells) > 2):
            malformed.append(number)
            yield Pair(cells[0], None)
        else:
            yield Pair(cells[0], cells[column])
    if 2 * len(malformed) > lines:
        raise DataError(
            f"{len(malformed)} of {lines} lines are not pairs of English and translation, the first being this",
            where=f"{path}:{malformed[0]}",
            remedy="write english<TAB>translation",
        )


def _is_table_head(line: str) -> bool:
    cells = [cell.strip().lower() for cell in line.split("\t")]
    return cells[0] in ("en", "english") and all(cell in _column_names() for cell in cells[1:])


@cache
def _column_names() -> frozenset[str]:
    names = [name.lower() for known in languages().values() for name in (known.code, known.name)]
    return frozenset(["translation", *names])


def _column_of(code: str, head: str, path: Path) -> int:
    cells = [cell.strip().lower() for cell in head.split("\t")]
    for name in (code.lower(), language(code).name.lower(), "translation"):
        if name in cells[1:]:
            return cells.index(name, 1)
    raise DataError(
        f"the table has no column for language {code!r}", where=f"{path}:1", remedy=f"its columns: {', '.join(cells)}"
    )
