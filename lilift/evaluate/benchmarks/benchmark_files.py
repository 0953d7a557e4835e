"""Reads the benchmarks' files in the formats of their authors: finds the file of a language and reads its rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lilift.evaluate.benchmarks.benchmark_rows import (
    RESTORE,
    Row,
    choice_row,
    choices_of,
    nli_row,
    number_row,
    row_of_columns,
)
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import canonical
from lilift.recipe.names.local_paths import file_spellings

_LISTED = 24  # languages that an error names
_AS_IT_IS = "use the authors' file as it is"


class NoSuchLanguage(DataError):
    """A benchmark has no questions in a language.

    Args:
        what, where, remedy: see `LiliftError`; the remedy is for a benchmark whose languages lilift does not know.
        there: the languages that it has, if lilift knows them.
    """

    def __init__(
        self, what: str, *, where: str | Path, there: Sequence[str] = (), remedy: str = "choose another language"
    ) -> None:
        more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
        super().__init__(what, where=where, remedy=f"choose from {', '.join(there[:_LISTED])}{more}" if there else remedy)


@dataclass(frozen=True)
class FileForm:
    """One file format of a benchmark.

    Attributes:
        pattern: path of a language's file in the folder, with ``{}`` in place of the language; lilift also tries it with
            ``.gz``.
        read: reads the rows, from the file and the language's code.
        written: language codes that the pattern writes differently, with their spelling there.
        complete: whether `written` lists every language of the benchmark.
        shared: whether one file holds every language.
    """

    pattern: str
    read: Callable[[Path, str], Iterator[Row]]
    written: Mapping[str, str] | None = None
    complete: bool = False
    shared: bool = False

    def find(self, folder: Path, language: str) -> Path | None:
        """The file of a language, plain or gzipped; None if there is no such file."""
        written = (self.written or {}).get(language, "" if self.complete else language)
        if not written:
            return None
        paths = (
            folder / (self.pattern.format(name) + suffix) for name in self._names(written, language) for suffix in ("", ".gz")
        )
        return next((path for path in paths if path.is_file()), None)

    def _names(self, written: str, language: str) -> list[str]:
        """How files may write a language, the authors' way first."""
        return [written] if self.shared else [written, *file_spellings(language)]

    def languages(self, folder: Path) -> list[str]:
        """The languages that have a file in the folder; empty if one file holds all languages."""
        if self.shared:
            return []
        codes = {written: code for code, written in (self.written or {}).items()}
        name = re.compile(re.escape(self.pattern).replace(r"\{\}", r"([A-Za-z_-]+)") + r"(?:\.gz)?")
        places = (path.relative_to(folder).as_posix() for path in folder.glob(self.pattern.replace("{}", "*") + "*"))
        found = (match.group(1) for place in places if (match := name.fullmatch(place)))
        known = {codes.get(written, canonical(written)) for written in found}
        return sorted(known if not self.complete else known & set(codes.values()))


def read_json_list(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001 - every reader gets it
    """Read a JSON list of ``{"question": …, "answer": …}``: MMWP, and the copies of MGSM and MSVAMP by the same authors."""
    text = _read_text(path)
    if not text.strip():
        raise DataError("the benchmark file is empty", where=path, remedy=RESTORE)
    try:
        rows = json.loads(text, parse_float=Decimal)  # as the file has it, where a float would round
    except json.JSONDecodeError as error:
        raise DataError(f"the file is not valid JSON ({error.msg})", where=f"{path}:{error.lineno}", remedy=RESTORE) from None
    if not isinstance(rows, list):
        raise DataError(
            "the file is not a JSON list of questions", where=path, remedy="use the authors' test_<code>.json as it is"
        )
    for number, row in enumerate(rows):
        where = f"{path}: row {number}"
        if not isinstance(row, dict) or "question" not in row or not isinstance(row.get("answer"), (str, int, Decimal)):
            raise DataError(
                "the row is not an object with `question` and `answer`",
                where=where,
                remedy="use the authors' test_<code>.json as it is",
            )
        yield number_row(where, str(number), row["question"], row["answer"])


def read_mgsm(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
    """Read lines of ``question<TAB>answer``, without a header and without quoting."""
    for number, (question, answer) in enumerate(_columns(path, 2, "use the authors' mgsm_<code>.tsv as it is")):
        yield number_row(f"{path}: row {number}", str(number), question, answer)


def read_msvamp(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
    """Read JSON lines of ``{"m_query": …, "response": …}``; the files are called .json nevertheless."""
    for number, row in enumerate(_json_lines(path)):
        where = f"{path}:{number + 1}"
        if "m_query" not in row or "response" not in row:
            raise DataError(
                "the line has no `m_query` and `response`", where=where, remedy="use the authors' test_<Language>.json as it is"
            )
        yield number_row(where, str(number), row["m_query"], row["response"])


def read_xnli_release(path: Path, language: str) -> Iterator[Row]:
    """Read one language of XNLI 1.0's own file, which holds every language and has a header."""
    lines = _lines(path)
    header = lines[0].split("\t") if lines else []
    wanted = ("language", "gold_label", "sentence1", "sentence2")
    if missing := [name for name in wanted if name not in header]:
        raise DataError(
            f"the header has no column {', '.join(missing)}", where=f"{path}:1", remedy="use XNLI 1.0's xnli.test.tsv as it is"
        )
    of, label, premise, hypothesis = (header.index(name) for name in wanted)
    number = 0
    for line_number, line in enumerate(lines[1:], start=2):
        columns = line.split("\t")
        if len(columns) != len(header):
            raise DataError(
                f"the line has {len(columns)} columns, and the header has {len(header)}",
                where=f"{path}:{line_number}",
                remedy=RESTORE,
            )
        if columns[of] == language:
            yield nli_row(f"{path}:{line_number}", str(number), columns[premise], columns[hypothesis], columns[label])
            number += 1


def read_xnli_pairs(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
    """Read XTREME's files: ``premise<TAB>hypothesis`` of one language, with the labels of all languages in another file."""
    remedy = "put test_labels.txt, with one label a line, beside the test-<code>.tsv files"
    labels_path = next((p for p in (path.parent / "test_labels.txt", path.parent / "test_labels.txt.gz") if p.is_file()), None)
    if labels_path is None:
        raise DataError("the labels of the test rows are missing", where=path.parent, remedy=remedy)
    labels = [line.strip() for line in _lines(labels_path)]
    rows = list(_columns(path, 2, "use XTREME's test-<code>.tsv as it is"))
    if len(rows) != len(labels):
        raise DataError(
            f"the file has {len(rows)} rows, but {labels_path.name} has {len(labels)} labels", where=path, remedy=RESTORE
        )
    for number, ((premise, hypothesis), label) in enumerate(zip(rows, labels, strict=True)):
        yield nli_row(f"{path}:{number + 1}", str(number), premise, hypothesis, label)


def read_xcsqa(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
    """Read JSON lines of ``{"id": …, "question": {"stem": …, "choices": […]}, "answerKey": …}``."""
    for number, row in enumerate(_json_lines(path)):
        where = f"{path}:{number + 1}"
        question = row.get("question")
        if "id" not in row or not isinstance(question, dict) or "stem" not in question:
            raise DataError("the line has no `id` and `question`", where=where, remedy="use X-CSQA's dev.jsonl as it is")
        yield choice_row(where, str(row["id"]), question["stem"], choices_of(question), row.get("answerKey"))


def json_lines_with(*columns: str) -> Callable[[Path, str], Iterator[Row]]:
    """A reader of JSON lines that have at least these columns: Belebele and PolyMath."""

    def read(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
        for number, row in enumerate(_json_lines(path)):
            where = f"{path}:{number + 1}"
            _require(where, columns, row)
            yield row_of_columns(where, str(number), row)

    return read


def table_with(*columns: str, quoted: bool = True, split: str | None = None) -> Callable[[Path, str], Iterator[Row]]:
    """A reader of tab-separated tables with a header that names at least these columns: AfriMGSM and SIB-200.

    Args:
        columns: the columns that a row needs.
        quoted: whether a cell may stand in double quotes, as CSV has it.
        split: reads only the rows that have this in the column `split`; None reads every row.
    """

    def read(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
        content = io.StringIO(_read_text(path), newline="")
        rows = csv.DictReader(content, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        _require(f"{path}:1", columns, rows.fieldnames or ())
        number = 0
        try:
            for row in rows:
                if None in row or None in row.values():
                    raise DataError(
                        "the line and the header differ in their number of columns",
                        where=f"{path}:{rows.line_num}",
                        remedy=_AS_IT_IS,
                    )
                if split is None or row["split"] == split:
                    yield row_of_columns(f"{path}:{rows.line_num}", str(number), row)
                    number += 1
        except csv.Error as error:
            raise DataError(f"the table is damaged ({error})", where=f"{path}:{rows.line_num}", remedy=RESTORE) from None

    return read


def parquet_with(*columns: str) -> Callable[[Path, str], Iterator[Row]]:
    """A reader of parquet files that have at least these columns: Global-MMLU-Lite and PolyMath."""

    def read(path: Path, language: str) -> Iterator[Row]:  # noqa: ARG001
        yield from rows_of_parquet(path, str(path), columns)

    return read


def rows_of_parquet(path: Path, name: str, columns: Collection[str] = ()) -> Iterator[Row]:
    """The rows of a parquet file; errors call it `name`.

    Raises:
        DataError: the file is damaged, lacks one of `columns`, or a row is not valid.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_table

    try:
        rows = read_table(path).to_pylist()
    except (OSError, ArrowInvalid):
        raise DataError("the parquet file is damaged", where=path, remedy="delete it and get it again") from None
    for number, row in enumerate(rows):
        where = f"{name}: row {number}"
        _require(where, columns, row)
        yield row_of_columns(where, str(number), row)


def _require(where: str, columns: Collection[str], there: Collection[str]) -> None:
    if missing := [name for name in columns if name not in there]:
        raise DataError(f"the column {', '.join(missing)} is missing", where=where, remedy=_AS_IT_IS)


def _columns(path: Path, count: int, remedy: str) -> Iterator[list[str]]:
    for number, line in enumerate(_lines(path), start=1):
        columns = line.split("\t")
        if len(columns) != count:
            raise DataError(f"the line has {len(columns)} columns instead of {count}", where=f"{path}:{number}", remedy=remedy)
        yield columns


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line, parse_float=Decimal)
        except json.JSONDecodeError as error:
            raise DataError(f"the line is not valid JSON ({error.msg})", where=f"{path}:{number}", remedy=RESTORE) from None
        if not isinstance(row, dict):
            raise DataError("the line is not a JSON object", where=f"{path}:{number}", remedy=RESTORE)
        yield row


def _lines(path: Path) -> list[str]:
    """The lines of a file, without the empty one after the last line break."""
    lines = [line.rstrip("\r") for line in _read_text(path).split("\n")]
    return lines[:-1] if not lines[-1].strip() else lines


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError("the benchmark file is not UTF-8 text", where=f"{path}:{line}", remedy=RESTORE) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged gzip data"
        raise DataError(f"lilift cannot read the benchmark file ({reason})", where=path, remedy=RESTORE) from None
