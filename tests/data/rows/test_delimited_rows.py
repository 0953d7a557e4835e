"""CSV and TSV files: every cell as it is written, whatever the delimiter, the quotes and the line ends."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path

import pytest

from lilift.data.rows.cells import TWO_VALUES
from lilift.data.rows.delimited_rows import delimited_names, read_delimited_rows
from lilift.recipe.errors import DataError


def read(path: Path, content: str | bytes, *, tabs: bool = False) -> list[tuple[object, ...]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [tuple(row.values()) for row in read_delimited_rows(path, tabs=tabs)]


CELLS = """None NA N/A null NULL nan NaN #N/A - 007 4 0.50 2.00 1e5 1E+05 true True FALSE 100000000000000000000 0,50 1.234,56
2024-01-02 10:30 'single' =1+1 é\u2028ü"""


@pytest.mark.parametrize("cell", [*re.split(r"[ \n]", CELLS), " blanks "])
def test_a_cell_is_the_text_of_the_file(tmp_path: Path, cell: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("question", "answer"), ("q", cell), ("empty", ""), ("number", "3")])
    assert read(tmp_path / "x.csv", buffer.getvalue()) == [("q", cell), ("empty", ""), ("number", "3")]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("question,response\na,b\nc,d\n", [("a", "b"), ("c", "d")]),
        ('question;response\n0,50;1,5\nc;"d;e"\n', [("0,50", "1,5"), ("c", "d;e")]),
        ("sep=;\nquestion;response\na;b,c\n", [("a", "b,c")]),
        ("sep=;\r\nquestion;response\r\na;b,c\r\n", [("a", "b,c")]),
        ("sep=x,response\na,b\n", [("a", "b")]),
        ("question\tresponse\na, b\tc\n", [("a, b", "c")]),
        ("question|response\na, b|c\n", [("a, b", "c")]),
        ('"question, in full","response"\n"a, b","c ""d"" e"\n', [("a, b", 'c "d" e')]),
        ('question,response\n"line one\nline two","b\r\nc"\n', [("line one\nline two", "b\r\nc")]),
        ('question,response\n"line one\n\nline three",b\n', [("line one\n\nline three", "b")]),
        ("question,response\r\na,b\r\n\r\nc,d", [("a", "b"), ("c", "d")]),
        ("question,response\ra,b\rc,d\r", [("a", "b"), ("c", "d")]),
        ('question,response\ra,"b\nc"\rd,e\r', [("a", "b\nc"), ("d", "e")]),
        ('question,response\na\rb,c\n"d\re",f\rg\n', [("a\rb", "c"), ("d\re", "f\rg")]),
        ("\n\nquestion,response\na,b\n", [("a", "b")]),
        ("question,response\na\nb,c\n", [("a",), ("b", "c")]),
        ("question,response\na,b,\nc,d,,\n", [("a", "b"), ("c", "d")]),
        ("question,response\n6\" pipe,it's 5'\n", [('6" pipe', "it's 5'")]),
        ("question, response\na, b\n", [("a", " b")]),
        ('question,response\na,"b"\r\n"c\r\nd",e\r\n', [("a", "b"), ("c\r\nd", "e")]),
        ("question,response\na,b\r\nc,d\n", [("a", "b\r"), ("c", "d")]),
        ('inch",response\n6",b\n', [('6"', "b")]),
    ],
)
def test_rows_are_read_in_every_dialect(tmp_path: Path, content: str, rows: list[tuple[str, ...]]) -> None:
    assert read(tmp_path / "x.csv", content) == rows
    assert delimited_names(tmp_path / "x.csv")[1].strip() == "response"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('question\tresponse\n"Hello," he said.\tIt is "so"\n', [('"Hello," he said.', 'It is "so"')]),
        ('question\tresponse\n"a ""b"" c"\t"two\nlines"\n', [('a "b" c', "two\nlines")]),
        ('question\tresponse\n"never closed\tb\nc\td\n', [('"never closed', "b"), ("c", "d")]),
        ("question, in full\tresponse\na\tb\n", [("a", "b")]),
    ],
    ids=["plain quotes", "quoted as in CSV", "an open quote", "comma in the header"],
)
def test_quotes_in_a_file_with_tabs_are_quotes_only_if_all_are(
    tmp_path: Path, content: str, rows: list[tuple[str, ...]]
) -> None:
    assert read(tmp_path / "x.tsv", content, tabs=True) == rows


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the csv module refuses NUL before Python 3.11")
def test_a_null_character_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "x.csv", "question,response\na\x00b,c\n") == [("a\x00b", "c")]


def test_the_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    content = 'question\tresponse\r\nWie viel?\t"0,50 ""€"""\r\nहिन्दी\t007\r\n'
    assert read(tmp_path / "x.tsv", content.encode("utf-16")) == [("Wie viel?", '0,50 "€"'), ("हिन्दी", "007")]


def test_a_column_that_stands_twice_has_no_value_unless_both_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("question,response,question,response\na,b,c,b\n", encoding="utf-8")
    (row,) = read_delimited_rows(tmp_path / "x.csv")
    assert row["question"] is TWO_VALUES
    assert row["response"] == "b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,response\na,b\na,b,c\n", r"x\.csv:3: the row has 3 cells, and the header has 2; put quotes"),
        ("question\nno delimiter, in the header\n", r"x\.csv:2: the row has 2 cells, and the header has 1"),
        ('question,response\n"a,b\nc,d\n', r"x\.csv:\d: a quotation mark is never closed"),
        ('question,response\na,b\n"a"b,c\n', r"x\.csv:3: a cell goes on after its closing quotation mark"),
        ("question,response\na,b\n" + "a" * (2 << 20), r"x\.csv:3: a line is longer than 1 MiB"),
        ('question,response\n"' + "a\n" * (1 << 20), r"x\.csv:\d+: a quotation mark is never closed"),
        ("question,response\na,b\ncafé,x\n".encode("latin-1"), r"x\.csv:3: the line is not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "x.csv", content)
    assert "\n" not in caught.value.line()
