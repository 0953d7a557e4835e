"""Lines of a text file, gzipped or not, with every way in which that can fail told in one line."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from lilift.recipe.errors import DataError

LONGEST_LINE = 1 << 20
_GZIP = b"\x1f\x8b"
_ENDING = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a carriage return at the end of a block may be half of an ending
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK": "a zip archive"}


def read_lines(path: Path, *, any_ending: bool = False) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its ending; a byte-order mark is skipped, gzip recognised by content.

    Args:
        path: the file.
        any_ending: a carriage return alone ends a line too, as old spreadsheets write it.

    Raises:
        DataError: there is no such file, it cannot be read, is not UTF-8, is cut short, or has a line of over a megabyte.
    """
    for number, line in read_raw_lines(path, any_ending=any_ending):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError("the line is not UTF-8 text", where=f"{path}:{number}", remedy="save the file as UTF-8") from None


def read_raw_lines(path: Path, *, any_ending: bool = False) -> Iterator[tuple[int, bytes]]:
    """As `read_lines`, but the bytes of each line, for files in which some words are not UTF-8.

    Raises:
        DataError: as `read_lines`, except for what is not UTF-8.
    """
    number = 0
    try:
        with opened(path) as stream:
            for line in _lines_of_any_ending(stream) if any_ending else iter(lambda: stream.readline(LONGEST_LINE + 1), b""):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise DataError("a line is longer than 1 MiB", where=f"{path}:{number}", remedy="check the file's format")
                yield number, (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip(b"\r\n")
    except (EOFError, zlib.error):
        raise DataError(
            "the gzip file is cut short or damaged", where=f"{path}:{number + 1}", remedy="download it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot read the file ({reason})", where=path, remedy="check the path") from None


def _lines_of_any_ending(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that end with a line feed, a carriage return or both; one that is too long comes as far as it was read."""
    rest = b""
    while block := stream.read(LONGEST_LINE):
        *lines, rest = _ENDING.split(rest + block)
        yield from lines
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest.removesuffix(b"\r")


def refuse_long_lines(path: Path) -> None:
    """Refuse a file with an endless line, in little memory: those who read it next take many times a line's length.

    What is wrong otherwise is left for them to tell.

    Raises:
        DataError: there is such a line.
    """
    number = 1
    try:
        with opened(path) as stream:
            while block := stream.read(LONGEST_LINE):
                breaks = block.count(b"\n")
                if breaks == 0 and len(block) == LONGEST_LINE:
                    raise DataError("a line is longer than 1 MiB", where=f"{path}:{number}", remedy="check the file's format")
                number += breaks
    except (OSError, EOFError, zlib.error):
        return


def refuse_shifted_rows(path: Path) -> None:
    """Refuse a CSV file with a row of more cells than its header: its reader would put the texts into the wrong columns.

    What is wrong otherwise is left for those who read it next.

    Raises:
        DataError: there is such a row.
    """
    try:
        with opened(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            columns = len(next(rows, ()))
            for row in rows:
                if len(row) > columns:
                    raise DataError(
                        f"the row has {len(row)} cells, and the header has {columns}",
                        where=f"{path}:{rows.line_num}",
                        remedy="put quotes around a text with commas in it",
                    )
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error):
        return


def opened(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if it is gzipped.

    Raises:
        DataError: it is UTF-16 or a zip archive.
        OSError: it cannot be opened.
    """
    with path.open("rb") as probe:
        first = probe.read(2)
    if first in _OTHER_ENCODINGS:
        raise DataError(f"the file is {_OTHER_ENCODINGS[first]}, not UTF-8 text", where=path, remedy="save it as UTF-8 text")
    return cast(BinaryIO, gzip.open(path, "rb")) if first == _GZIP else path.open("rb")
