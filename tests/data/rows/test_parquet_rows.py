"""Parquet files: texts as they are, numbers in Python's spelling, only the columns that are used."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.data.rows.parquet_rows import parquet_names, read_parquet_rows
from lilift.recipe.errors import DataError


def texts(path: Path, column: pa.Array | pa.ChunkedArray) -> list[str]:
    parquet.write_table(pa.table({"a": column}), path)
    return [text_of(row["a"], "answer") for row in read_parquet_rows(path)]


TEXTS = ["007", "null", "é\n😀", "", None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(TEXTS), [*TEXTS[:4], ""]),
        (pa.array(TEXTS, pa.large_string()), [*TEXTS[:4], ""]),
        (pa.array(TEXTS, pa.string_view()), [*TEXTS[:4], ""]),
        (pa.array(TEXTS).dictionary_encode(), [*TEXTS[:4], ""]),
        (pa.array([text and text.encode() for text in TEXTS], pa.binary()), [*TEXTS[:4], ""]),
        (pa.array([1, None, -3]), ["1", "", "-3"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([4.0, 0.1, None, float("nan"), 1e20]), ["4.0", "0.1", "", "", "1e+20"]),
        (pa.array([4.0, 0.1, None, float("nan")], pa.float32()), ["4.0", "0.1", "", ""]),
        (pa.array([True, False, None]), ["true", "false", ""]),
        (pa.array([Decimal("12.50")]), ["12.50"]),
        (pa.array([Decimal("0.00000001"), Decimal(0)], pa.decimal128(20, 8)), ["0.00000001", "0.00000000"]),
        (pa.array([datetime.date(2024, 1, 2)]), ["2024-01-02"]),
        (pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5)]), ["2024-01-02 03:04:05"]),
        (pa.array([None, None], pa.null()), ["", ""]),
    ],
    ids=str,
)
def test_every_type_has_its_text(tmp_path: Path, column: Any, expected: list[str]) -> None:
    assert texts(tmp_path / "x.parquet", column) == expected


def test_bytes_that_are_no_text_are_a_reason_to_leave_the_row_out(tmp_path: Path) -> None:
    for kind in (pa.binary(), pa.string()):
        column = pa.array([b"good", b"caf\xe9"], pa.binary()).view(pa.binary())
        if kind == pa.string():
            column = pa.Array.from_buffers(pa.string(), 2, column.buffers())
        parquet.write_table(pa.table({"a": column}), tmp_path / "x.parquet")
        first, second = read_parquet_rows(tmp_path / "x.parquet")
        assert text_of(first["a"], "answer") == "good"
        with pytest.raises(UnusableRowError, match="answer is not UTF-8 text"):
            text_of(second["a"], "answer")


def test_only_the_columns_that_are_used_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"a": ["1"], "b.c": ["2"], "d": [[{"role": "user", "content": "x"}]]}), path)
    assert parquet_names(path) == ["a", "b.c", "d"]
    assert list(read_parquet_rows(path, ["a", "d", "other"])) == [{"a": "1", "d": [{"role": "user", "content": "x"}]}]
    assert list(read_parquet_rows(path, ["b.c"])) == [{"b.c": "2"}]


def test_many_row_groups_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    numbers = [str(number) for number in range(5000)]
    parquet.write_table(pa.table({"a": numbers}), path, row_group_size=700)
    assert [row["a"] for row in read_parquet_rows(path)] == numbers


def test_a_fault_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"x\.parquet: cannot read the parquet data"):
        parquet_names(path)
    parquet.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["a", "a"]), path)
    with pytest.raises(DataError, match="the file has the column 'a' twice"):
        list(read_parquet_rows(path))
    parquet.write_table(pa.table({"a": ["text" * 50] * 5000}), path, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read the parquet data"):
        list(read_parquet_rows(path))
