"""Pairs of words from dictionary files as they are published; the format is recognised from the content.

- Two columns, English first: GATITOS, Wiktionary (WECHSEL), AfroMT, MUSE, any TSV or CSV, with or without further columns. Each
  line may have its own separator (`lilift.data.lexicons.dictionary_lines`).
- A table whose first line names a language per column.
- A dictionary with English on the right, which is read the other way round (`lilift.data.lexicons.dictionary_columns`).
- JSON: Wiktionary as kaikki.org has it, rows, or one object (`lilift.data.lexicons.dictionary_json`).
- PanLex's archive of Swadesh lists (`lilift.data.lexicons.swadesh`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

from lilift.data.languages import Language, language
from lilift.data.lexicons.dictionary_columns import UNNAMED, Columns, MissingColumn, column_layout, header_columns
from lilift.data.lexicons.dictionary_json import is_json, json_pairs
from lilift.data.lexicons.dictionary_lines import forms_of, is_comment, whole_lines
from lilift.data.lexicons.pair_filters import alternatives
from lilift.data.lexicons.swadesh import read_swadesh
from lilift.data.other_formats import require_text_format
from lilift.data.text_files import read_lines, reading
from lilift.recipe.errors import DataError

_LIST_OF_WORDS = re.compile(r"(?:to )?[a-z]+(?:\s*[,;]\s*(?:to )?[a-z]+)+")
"""``house, home``, in lower case: ``Paris, Texas`` is one name."""
COMMENT, HEADER = "comment", "header"
_SAMPLE = 2000
"""Lines by which a file's separators, columns and direction are told."""


class Pair(NamedTuple):
    """An English entry and its translation, as the file has them.

    Attributes:
        english: the entry; the whole line where it is no pair.
        translation: None where the line is a comment, a header, or has another format.
        weight: how often it is given.
        skipped: `COMMENT` or `HEADER` for a line that was never meant as a pair.
    """

    english: str
    translation: str | None
    weight: float = 1.0
    skipped: str = ""


@dataclass(frozen=True)
class Dictionary:
    """A dictionary file that is being read.

    Attributes:
        pairs: its pairs, line by line; reading them may raise `DataError`.
        turned: whether English stands on the right, so that the file is read the other way round.
    """

    pairs: Iterator[Pair]
    turned: bool = False


def read_dictionary(path: Path, code: str) -> Dictionary:
    """A dictionary file for one language.

    Args:
        path: the file, gzipped or not.
        code: the language; picks the column of a table.

    Raises:
        DataError: the file cannot be read, is a table without the language, or most of its lines are not pairs.
    """
    known = language(code)
    if path.is_file():
        require_text_format(path)
        if _is_archive(path):
            return Dictionary(Pair(english, expression) for english, expression in read_swadesh(path, known.code))
        if is_json(path):
            return Dictionary(Pair(english, translation) for english, translation in json_pairs(path, known))
    lines = read_lines(path, recode=True, any_ending=True)
    sample = list(islice(lines, _SAMPLE))
    reader = _Reader(path, known, [line for _, line in sample])
    return Dictionary(reader.pairs(chain(sample, lines)), reader.turned)


def _is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, whole or damaged."""
    with reading(path), path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04" or is_zipfile(path)


class _Reader:
    """Turns lines into pairs, by what the first lines of a file say of it."""

    def __init__(self, path: Path, known: Language, sample: list[str]) -> None:
        self._path, self._known = path, known
        content = [line for line in sample if line.strip() and not is_comment(line)]
        suffixes = [suffix.lower() for suffix in path.suffixes]
        whole = [line for _, line in whole_lines(enumerate(content))]
        self._forms = forms_of(whole, table=".csv" in suffixes)
        if self._forms.delimiter:
            content = whole
        else:  # quotation marks in a file of another kind quote nothing
            self._forms = forms_of(content, table=".csv" in suffixes)
        rows = [self._cells(line) for line in content]
        headed = [header_columns(row, known) for row in rows]
        self._columns, self.turned = column_layout([row for row, head in zip(rows, headed, strict=True) if not head], known)
        first = headed[0] if headed else None
        if isinstance(first, Columns) and first != UNNAMED:
            self.turned = first.english > first.translation

    def pairs(self, lines: Iterator[tuple[int, str]]) -> Iterator[Pair]:
        """The pairs of all lines; comments and headers among them, marked as such.

        Raises:
            DataError: a table lacks the language, or most lines are not pairs.
        """
        columns, read = self._columns, 0
        malformed: list[int] = []
        headers: set[str] = set()
        for number, line in whole_lines(lines) if self._forms.delimiter else lines:
            if not line.strip():
                continue
            if is_comment(line):
                yield Pair(line.strip(), None, skipped=COMMENT)
                continue
            cells = self._cells(line)
            head = header_columns(cells, self._known)
            if isinstance(head, MissingColumn) and read == 0:
                raise self._lacks_column(head, number)
            # Among the pairs, words such as "source" or "en" are translations more often than headers.
            repeated = line.casefold() in headers or (head not in (None, UNNAMED) and not columns.by_place)
            if isinstance(head, Columns) and (read == 0 or repeated):
                columns = columns if head == UNNAMED else head
                headers.add(line.casefold())
                yield Pair(line.strip(), None, skipped=HEADER)
                continue
            read += 1
            pair = columns.pair(cells) or ((cells[0], "") if "\t" in line and cells[0] else None)
            if pair is None:
                malformed.append(number)
                yield Pair(line.strip(), None)
                continue
            english, translation = pair
            # A dictionary into English lists several English words for one of its own.
            turned = columns.english > columns.translation
            for word in alternatives(english) if turned or _LIST_OF_WORDS.fullmatch(english) else (english,):
                yield Pair(word, translation)
        if 2 * len(malformed) > read:
            raise DataError(
                f"{len(malformed)} of {read} lines are not pairs of English and translation, the first being this",
                where=f"{self._path}:{malformed[0]}",
                remedy="write english<TAB>translation",
            )

    def _cells(self, line: str) -> list[str]:
        return self._forms.cells(line, self._is_translation)

    def _is_translation(self, text: str) -> bool:
        return "Latn" not in self._known.scripts and self._known.writes(text)

    def _lacks_column(self, head: MissingColumn, number: int) -> DataError:
        return DataError(
            f"the table has no column for language {self._known.code!r}",
            where=f"{self._path}:{number}",
            remedy=f"its columns: {', '.join(head.names)}",
        )
