"""Reads the choices of a row: a list, a text with separators, or one cell for each choice."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.data.rows.json_rows import decode_json
from lilift.recipe.errors import DataError

_SEPARATORS = ("\n", "|", ";", "\t")
_MARK = re.compile(r"(?:(?<=\s)|^)\(?(?P<letter>[A-Za-z])[.):]\s+")
_REMEDY = "write them as a list, separated by `|`, or in one column each"


def choices_of_cells(cells: Sequence[Any], where: str) -> tuple[str, ...]:
    """The choices of a row.

    Args:
        cells: the cell with the list of choices, or one cell for each choice; empty cells at the end are no choices.
        where: file and row, for errors.

    Raises:
        DataError: there are fewer than two choices or more than 26, one is empty, or two are the same.
    """
    try:
        found = _listed(cells[0]) if len(cells) == 1 else [text_of(cell, "a choice").strip() for cell in cells]
    except UnusableRowError as error:
        raise DataError(f"lilift cannot read the choices: {error}", where=where, remedy=_REMEDY) from None
    while found and not found[-1]:
        found.pop()
    if len(found) < 2:
        raise DataError(f"the row has {len(found)} choices instead of at least 2", where=where, remedy=_REMEDY)
    if len(found) > len(string.ascii_uppercase):
        raise DataError(f"the row has {len(found)} choices; lilift takes at most 26", where=where, remedy="leave some out")
    if "" in found:
        raise DataError(f"the choice {string.ascii_uppercase[found.index('')]} is empty", where=where, remedy="write its text")
    if len(set(found)) < len(found):
        twice = next(choice for choice in found if found.count(choice) > 1)
        raise DataError(f"two choices are the same: {twice[:40]!r}", where=where, remedy="change one of them")
    return tuple(found)


def _listed(cell: Any) -> list[str]:
    """The choices in one cell: a list, lists of texts and labels, a mapping from letters, or a text."""
    if isinstance(cell, str):
        cell = _decoded(cell.strip())
    if isinstance(cell, Mapping):
        texts = cell.get("text")
        cell = texts if isinstance(texts, list) else list(cell.values())
    if isinstance(cell, str):
        return _split(cell)
    if not isinstance(cell, list):
        return []
    values = (one.get("text") if isinstance(one, Mapping) else one for one in cell)
    return _without_marks([text_of(value, "a choice").strip() for value in values])


def _decoded(text: str) -> Any:
    """The list or mapping that a text spells in JSON or in Python, as pandas writes lists into CSV; otherwise the text."""
    if text[:1] not in ("[", "{"):
        return text
    for decode in (decode_json, ast.literal_eval):
        try:
            return decode(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _split(text: str) -> list[str]:
    """The choices of a text: by ``A) … B) …``, by line breaks, by `|` or `;`, or by commas."""
    marks = list(_MARK.finditer(text))
    letters = [mark["letter"].upper() for mark in marks]
    if len(marks) > 1 and letters == list(string.ascii_uppercase[: len(marks)]) and not text[: marks[0].start()].strip():
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        pieces = [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
        return [piece.rstrip("|;,").strip() for piece in pieces]
    separator = next((one for one in _SEPARATORS if one in text), ",")
    return _without_marks([piece.strip() for piece in text.strip().strip(separator).split(separator)])


def _without_marks(choices: list[str]) -> list[str]:
    """The choices without ``A. ``, ``B. `` … before them, if all of them have such a mark."""
    found = [_MARK.match(choice) for choice in choices]
    letters = [match["letter"].upper() for match in found if match]
    if len(letters) < len(choices) or letters != list(string.ascii_uppercase[: len(letters)]):
        return choices
    return [choice[match.end() :].strip() for choice, match in zip(choices, found, strict=True) if match]
