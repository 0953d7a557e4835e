"""Finds the files of a benchmark of your own and reads their rows: one file, or a folder with one file for each language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilift.data.other_formats import require_text_format
from lilift.data.rows.parquet_rows import read_parquet_rows
from lilift.data.rows.row_files import ROW_FILES, kind_of_file, open_rows
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import read_language
from lilift.recipe.schema import InstructionSettings

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_BARE_NUMBER = re.compile(r"[:\[,]\s*(-?\d+\.\d+)\s*(?=[,}\]]|$)")


@dataclass(frozen=True)
class FileRow:
    """One row of a file.

    Attributes:
        file: the file.
        number: place of the row as a spreadsheet counts it: the header of a CSV file is row 1.
        language: code that the file's name gives; None if the name gives none.
        cells: the row's values by column.
    """

    file: Path
    number: int
    language: str | None
    cells: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and row, for errors."""
        return f"{self.file}: row {self.number}"


@dataclass(frozen=True)
class QuestionFiles:
    """What a path holds.

    Attributes:
        path: the file or folder.
        files: the files that were read.
        rows: every row of every file.
        names: the columns, in the order of the files.
        ignored: data files of the folder whose name ends with no language, so that lilift does not read them.
    """

    path: Path
    files: tuple[Path, ...]
    rows: tuple[FileRow, ...]
    names: tuple[str, ...]
    ignored: tuple[Path, ...] = ()


def read_question_files(path: Path) -> QuestionFiles:
    """Read every row of a file, or of the files of a folder.

    Raises:
        DataError: there is no such path or no data file, two files have the same language, or a file cannot be read or has no
            rows.
    """
    files, ignored = _files(path)
    rows: list[FileRow] = []
    names: dict[str, None] = {}
    for file in files:
        found = _rows_of(file)
        rows += found
        for row in found:
            names |= dict.fromkeys(row.cells)
    return QuestionFiles(path, tuple(files), tuple(rows), tuple(names), tuple(ignored))


def split_language(file: Path) -> tuple[str, str | None]:
    """The name of a file without its language, and the language's code: ``problems_sw.csv`` gives ``problems`` and ``sw``.

    lilift takes ``NAME_LANG``, ``NAME-LANG``, ``NAME.LANG`` and ``LANG`` alone, with the language in every usual spelling. The
    code is None if the name ends with no language.
    """
    stem = stem_of_file(file)
    whole = read_language(stem)
    if whole is not None:
        return "", whole.code
    # The longest ending comes first: `swh_Latn` and `zh-Hans` have a separator of their own.
    for start in [match.start() for match in re.finditer(r"[_.-]", stem)][-2:]:
        found = read_language(stem[start + 1 :])
        if found is not None:
            return stem[:start], found.code
    return stem, None


def bare_decimals(file: Path) -> frozenset[str]:
    """The texts of a file that the file itself holds as numbers: JSON's without quotes, and Parquet's of 16 and 32 bits.

    A number 2.125 is two and an eighth in every language, while the text "2.125" may mean two thousand and more.
    """
    kind = kind_of_file(file)
    if kind == "parquet":
        from pyarrow import types
        from pyarrow.parquet import read_schema

        narrow = [one.name for one in read_schema(file) if types.is_float16(one.type) or types.is_float32(one.type)]
        rows = read_parquet_rows(file, narrow) if narrow else ()
        return frozenset(str(value) for row in rows for value in row.values())
    if kind != "json":
        return frozenset()
    return frozenset(number for _, line in read_lines(file, recode=True) for number in _BARE_NUMBER.findall(line))


def _files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files to read, and the data files that are not read."""
    if not path.exists():
        raise DataError("no such file or folder", where=path, remedy="check the path of your benchmark")
    if path.is_file():
        return [path], []
    there = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in there if kind_of_file(file)]
    if not found:
        for file in there:
            require_text_format(file, by_name=True)
        raise DataError(f"the folder has no {ROW_FILES.removeprefix('a ')}", where=path, remedy="check the path")
    named = {file: code for file in found if (code := split_language(file)[1])}
    if not named:  # a language column must name the languages
        return found, []
    twice = next((code for code, count in Counter(named.values()).items() if count > 1), None)
    if twice:
        both = [file.name for file, code in named.items() if code == twice]
        raise DataError(
            f"{both[0]} and {both[1]} both hold the language {twice!r}",
            where=path,
            remedy="put each benchmark into a folder of its own, or name one file as the path",
        )
    return list(named), [file for file in found if file not in named]


def _rows_of(file: Path) -> list[FileRow]:
    kind = kind_of_file(file)
    if not kind:
        raise _unreadable_kind(file)
    if file.stat().st_size == 0:
        raise DataError("the file is empty", where=file, remedy="write your questions into it, one in each row")
    first = 2 if kind in ("csv", "tsv") else 1
    _, language = split_language(file)
    rows = open_rows(InstructionSettings(source=str(file.absolute())), "the path of your benchmark").read()
    found = [FileRow(file, number, language, cells) for number, cells in enumerate(rows, start=first)]
    if not found:
        raise DataError("the file has no rows", where=file, remedy="write your questions into it, one in each row")
    return found


def _unreadable_kind(file: Path) -> DataError:
    require_text_format(file, by_name=True)
    return DataError("lilift does not read this kind of file", where=file, remedy=f"give {ROW_FILES}")


def stem_of_file(file: Path) -> str:
    """The name of a file without the endings of its kind and of its compression."""
    while file.suffix.lower() in _COMPRESSED:
        file = file.with_suffix("")
    return file.stem
