"""Rows of JSON files: JSON Lines, a list of objects, or one object that holds the list or its columns.

Numbers come as texts, spelled as in the file. Files are read in pieces, so that memory does not grow with them. Only a file
that holds its columns one after the other is read as a whole.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lilift.data.rows.cells import one_value_each
from lilift.data.text_files import LONGEST_LINE, Position, long_line, open_text, read_lines, reading
from lilift.recipe.errors import DataError

_PIECE = 1 << 20
_LONGEST_VALUE = 64 << 20
"""Characters of the longest row of a list; anything longer is no row."""
_LINES_BY_NAME = frozenset([".jsonl", ".ndjson"])
_BLANKS = re.compile(r"[ \t\r\n]*")
_PARTS_OF_ROWS = tuple(
    map(frozenset, (["role", "content"], ["from", "value"], ["role", "text"], ["from", "text"], ["type", "text"]))
)
"""An object with such keys is a turn or a content part of a row, and no row itself."""


def _constant(name: str) -> str | None:
    return None if name == "NaN" else name  # pandas and Python write a missing number as NaN


_DECODER = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_constant, object_pairs_hook=one_value_each, strict=False
)


def decode_json(text: str) -> Any:
    """The value of a JSON text, its numbers as texts.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: its lists are nested too deeply.
    """
    return _DECODER.decode(text)


def read_json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON file.

    Raises:
        DataError: the file cannot be read, is not JSON, or holds something other than rows.
    """
    return _rows_of_lines(path) if _has_rows_on_lines(path) else _rows_of_values(path)


def _has_rows_on_lines(path: Path) -> bool:
    """Whether the first line is an object and more lines follow: JSON Lines, whatever the name of the file."""
    with reading(path), open_text(path) as stream:
        filled = (line for line in iter(lambda: stream.readline(LONGEST_LINE + 1), b"") if line.strip())
        first, second = next(filled, b""), next(filled, None)
    if first.lstrip().startswith(b"["):
        return False
    if len(first) > LONGEST_LINE:
        if _LINES_BY_NAME.isdisjoint(path.suffixes):
            return False
        raise long_line(path, 1)
    try:
        is_row = isinstance(decode_json(first.decode("utf-8", "replace")), dict)
    except (ValueError, RecursionError):
        return not first.lstrip().startswith(b"{")
    return is_row and second is not None


def _rows_of_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in read_lines(path, recode=True):
        end = _after_blanks(line, 0)
        while end < len(line):
            try:
                row, end = _DECODER.raw_decode(line, end)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise _no_row(f"{path}:{number}")
            yield row
            end = _after_blanks(line, end)


def _after_blanks(text: str, start: int) -> int:
    found = _BLANKS.match(text, start)
    return found.end() if found else start


def _no_row(where: str) -> DataError:
    return DataError("the line is not a JSON object", where=where, remedy="mend or remove it")


def _rows_of_values(path: Path) -> Iterator[dict[str, Any]]:
    """Rows that do not stand on lines of their own."""
    with reading(path) as position, open_text(path) as opened:
        file = _JsonText(io.TextIOWrapper(opened, encoding="utf-8", newline=""), path, position)
        while first := file.peek():
            if first == "[":
                yield from _only_objects(file.elements(), file)
            elif first == "{":
                yield from _rows_of_object(file)
            else:
                raise _no_row(file.place())


def _only_objects(values: Iterator[Any], file: _JsonText) -> Iterator[dict[str, Any]]:
    for value in values:
        if not isinstance(value, dict):
            raise _no_row(file.place())
        yield value


def _rows_of_object(file: _JsonText) -> Iterator[dict[str, Any]]:
    """The rows of an object: of the list that it holds (``{"data": […]}``), of its columns, or the one row that it is."""
    pairs: list[tuple[str, Any]] = []
    rows = None
    for name in file.members():
        if file.peek() != "[":
            pairs.append((name, file.value()))
            continue
        elements = file.elements()
        head = list(itertools.islice(elements, 1))
        if not head or not isinstance(head[0], dict) or _is_part_of_row(head[0]):
            pairs.append((name, [*head, *elements]))
            continue
        if rows is not None:
            what = f"the file holds two lists of rows, {rows!r} and {name!r}"
            raise DataError(what, where=file.place(), remedy="keep one list, or make a file of each")
        rows = name
        yield from _only_objects(itertools.chain(head, elements), file)
    if rows is None:
        row = one_value_each(pairs)
        yield from _rows_of_columns(row) or [row]


def _rows_of_columns(columns: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Rows from an object of columns, each a list or an object by row (pandas' own form); None for another object."""
    cells = list(columns.values())
    if len(cells) < 2:
        return None
    if all(isinstance(one, dict) for one in cells) and all(one.keys() == cells[0].keys() for one in cells):
        return [{name: column[row] for name, column in columns.items()} for row in cells[0]]
    are_lists = all(isinstance(one, list) and len(one) == len(cells[0]) for one in cells)
    if are_lists and not any(_is_part_of_row(value) for one in cells for value in one[:1]):
        return [dict(zip(columns, values, strict=True)) for values in zip(*cells, strict=True)]
    return None


def _is_part_of_row(value: Any) -> bool:
    return isinstance(value, dict) and any(keys <= value.keys() for keys in _PARTS_OF_ROWS)


class _JsonText:
    """JSON that is read value by value, with a piece of the file in memory."""

    def __init__(self, file: io.TextIOWrapper, path: Path, position: Position) -> None:
        self._file, self._path, self._position = file, path, position
        self._text, self._at, self._ended = "", 0, False

    def place(self) -> str:
        """File and line, for errors."""
        line = self._position.line + self._text.count("\n", 0, self._at) + 1
        return f"{self._path}:{line}"

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            self._at = _after_blanks(self._text, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_on()

    def value(self) -> Any:
        """The next value as a whole."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                in_a_text = error.msg.startswith("Unterminated string")
                if self._ended or (not in_a_text and error.pos < len(self._text) - 16):
                    self._at = min(error.pos, len(self._text))
                    raise self._fault(error.msg) from None
            except RecursionError:
                raise self._fault("nested too deeply") from None
            else:
                if self._ended or end < len(self._text):  # a number may go on in the next piece
                    self._at = end
                    return value
            if len(self._text) - self._at > _LONGEST_VALUE:
                raise DataError("a row is longer than 64 MiB", where=self.place(), remedy="check the file's format")
            self._read_on()

    def elements(self) -> Iterator[Any]:
        """The values of a list, one by one."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of an object; the caller reads the value of each before it asks for the next."""
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            if self.peek() != '"':
                raise self._fault("a key is missing")
            name = str(self.value())
            self._take(":")
            yield name
            if self._take(",}") == "}":
                return

    def _take(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            raise self._fault(f"{' or '.join(wanted)} is missing")
        self._at += 1
        return found

    def _read_on(self) -> None:
        """Read on: at least as much again as is waiting, so that a long value is not decoded too often."""
        more = self._file.read(max(_PIECE, len(self._text) - self._at))
        self._position.line += self._text.count("\n", 0, self._at)
        self._text, self._at, self._ended = self._text[self._at :] + more, 0, not more

    def _fault(self, reason: str) -> DataError:
        return DataError(
            f"the file is not JSON ({reason})", where=self.place(), remedy="mend it, or restore it from its source"
        )
