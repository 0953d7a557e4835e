"""Rows of CSV and TSV files, every cell as text.

The header decides the delimiter: comma, semicolon (spreadsheets where a comma stands before decimals), tab or vertical bar.
Quotes follow RFC 4180. A file with tabs whose quotes do not is read without quotes, as many programs write it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.data.rows.cells import one_value_each
from lilift.data.text_files import LONGEST_LINE, long_line, open_text, read_lines, reading
from lilift.recipe.errors import DataError

_DELIMITERS = ",;\t|"
_PEEKED = 1 << 16
_STAND_IN = "\ufdd0"
"""Stands for CR; Unicode keeps this code point out of texts."""


@dataclass(frozen=True)
class _Dialect:
    """How a file separates its cells.

    Attributes:
        delimiter: between the cells of a row.
        newline: the end of the rows: LF, CR LF or CR. After LF, a CR at the end of a row belongs to its last cell.
        quoted: whether cells may stand in quotes.
        skipped: lines before the header (``sep=;`` of Excel).
    """

    delimiter: str
    newline: str
    quoted: bool = True
    skipped: int = 0


def delimited_names(path: Path, *, tabs: bool = False) -> list[str]:
    """The columns that the header names.

    Args:
        path: the file.
        tabs: prefer tabs where the header does not show the delimiter.

    Raises:
        DataError: see `read_delimited_rows`.
    """
    return next(_records(path, _dialect(path, tabs)), (0, []))[1]


def read_delimited_rows(path: Path, *, tabs: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a file, by the columns of its header. Empty lines are no rows; cells that a short row lacks are missing.

    Args:
        path: the file.
        tabs: prefer tabs where the header does not show the delimiter.

    Raises:
        DataError: the file cannot be read, its quotes are broken, or a row has more cells than the header.
    """
    dialect = _dialect(path, tabs)
    if dialect.delimiter == "\t" and not _is_well_quoted(path, dialect):
        dialect = _Dialect("\t", dialect.newline, quoted=False, skipped=dialect.skipped)
    records = _records(path, dialect)
    _, names = next(records, (0, []))
    has_twins = len(set(names)) < len(names)
    width = len(names)
    for line, cells in records:
        if not cells or (len(cells) == 1 < width and not cells[0].strip()):
            continue
        if len(cells) > width and any(cells[width:]):
            raise DataError(
                f"the row has {len(cells)} cells, and the header has {width}",
                where=f"{path}:{line}",
                remedy="put quotes around a text with " + ("commas" if dialect.delimiter == "," else "delimiters") + " in it",
            )
        pairs = zip(names, cells, strict=False)
        yield one_value_each(pairs) if has_twins else dict(pairs)


def _dialect(path: Path, tabs: bool) -> _Dialect:
    """Find out how the file separates its cells, from its first record."""
    with reading(path), open_text(path) as stream:
        start = stream.read(_PEEKED).decode("utf-8", "replace")
    hint = start[:5].lower()
    first, _, rest = start.partition("\n")
    if hint[:4] == "sep=" and first.rstrip("\r")[4:] == hint[4:] != "":
        return _Dialect(hint[4], _row_end(rest, _first_record(rest)[1]), skipped=1)
    header, newline = _first_record(start)
    order = "\t" + _DELIMITERS.replace("\t", "") if tabs else _DELIMITERS
    return _Dialect(max(order, key=lambda delimiter: _width(header, delimiter)), _row_end(start, newline))


def _row_end(text: str, newline: str) -> str:
    """The end of the rows: CR LF in a file of CR LF to which somebody has put a header with LF."""
    _, _, rows = text.partition("\n")
    is_pair = newline == "\n" and "\n" in rows and rows.count("\n") == rows.count("\r\n")
    return "\r\n" if is_pair else newline


def _width(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=delimiter), []))
    except csv.Error:  # a line end that is in quotes for another delimiter alone
        return header.count(delimiter) + 1


def _first_record(text: str) -> tuple[str, str]:
    """The text up to the first line end outside quotes, and that line end."""
    quoted = False
    for place, letter in enumerate(text):
        if letter == '"' and (quoted or place == 0 or text[place - 1] in _DELIMITERS + "\r\n"):
            quoted = not quoted
        elif letter in "\r\n" and not quoted and text[:place].strip():
            is_pair = text[place : place + 2] == "\r\n"
            return text[:place].lstrip("\r\n"), "\r\n" if is_pair else letter
    return text, "\n"


def _is_well_quoted(path: Path, dialect: _Dialect) -> bool:
    """Whether every cell that begins with a quote is quoted as RFC 4180 wants it."""
    try:
        records = _records(path, dialect)
        width = len(next(records, (0, []))[1])
        return all(len(cells) <= width for _, cells in records)
    except DataError:  # what else is wrong shows again when the rows are read
        return False


def _records(path: Path, dialect: _Dialect) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of each record, the header's first."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    with reading(path) as position, open_text(path) as stream:
        file = io.TextIOWrapper(stream, encoding="utf-8", newline=dialect.newline[-1])
        lines = _Lines(file, path, dialect)
        if dialect.quoted:
            reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True)
        else:
            reader = csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
        is_header = True
        try:
            for cells in reader:
                position.line = reader.line_num + dialect.skipped
                if lines.has_stand_ins:
                    cells = [cell.replace(_STAND_IN, "\r") for cell in cells]
                    lines.has_stand_ins = False
                if is_header and cells:
                    cells = [name.strip() for name in cells]
                    is_header = False
                elif is_header:
                    continue
                yield position.line, cells
        except csv.Error as error:
            raise _broken(f"{path}:{position.line + 1}", error) from None
        except UnicodeDecodeError:
            for _ in read_lines(path, recode=True):  # finds the line; decoding is ahead of the rows here
                pass
            raise


class _Lines:
    """The lines of a file for the `csv` module, with a stand-in for each CR within a line.

    The module takes such a CR outside quotes for the end of a row, and some programs write it without quotes.

    Attributes:
        has_stand_ins: whether a line since the last record has one; the reader of the records resets it.
    """

    def __init__(self, file: io.TextIOWrapper, path: Path, dialect: _Dialect) -> None:
        self._file, self._path, self._count, self._newline = file, path, 0, dialect.newline
        self.has_stand_ins = False
        for _ in range(dialect.skipped):
            file.readline(LONGEST_LINE)

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_LINE + 1):
            self._count += 1
            if len(line) > LONGEST_LINE:
                raise long_line(self._path, self._count)
            yield self._with_stand_ins(line) if self._newline != "\r" and "\r" in line else line

    def _with_stand_ins(self, line: str) -> str:
        end = len(line) - (len(self._newline) if line.endswith(self._newline) else line.endswith("\n"))
        if "\r" not in line[:end]:
            return line
        if _STAND_IN in line:
            raise DataError("the line holds both CR and U+FDD0", where=f"{self._path}:{self._count}", remedy="remove one")
        self.has_stand_ins = True
        return line[:end].replace("\r", _STAND_IN) + line[end:]


def _broken(where: str, error: csv.Error) -> DataError:
    text = str(error)
    if "field limit" in text or "unexpected end" in text:
        return DataError("a quotation mark is never closed", where=where, remedy='close it, or write it as ""')
    if "expected after" in text:
        return DataError("a cell goes on after its closing quotation mark", where=where, remedy='write a quotation mark as ""')
    return DataError(f"cannot read the row ({text})", where=where, remedy="mend or remove it")
