"""Any text that a program writes into a data file comes out of it again, letter for letter."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from lilift.data.rows.cells import text_of
from lilift.data.rows.row_files import open_rows
from lilift.recipe.schema import InstructionSettings
from tests.data.rows.hard_texts import COLUMNS, HARD

FILES = Path(__file__).parent / "files_of_other_programs"
Pairs = list[tuple[str, str]]


def with_json(path: Path, pairs: Pairs) -> None:
    path.write_text(json.dumps([dict(zip(COLUMNS, pair, strict=True)) for pair in pairs]), encoding="utf-8")


def with_json_lines(path: Path, pairs: Pairs) -> None:
    lines = (json.dumps(dict(zip(COLUMNS, pair, strict=True)), ensure_ascii=False) + "\n" for pair in pairs)
    path.write_text("".join(lines), encoding="utf-8", newline="")


def delimited(encoding: str, **dialect: object) -> Callable[[Path, Pairs], None]:
    def write(path: Path, pairs: Pairs) -> None:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, **dialect).writerows([COLUMNS, *pairs])  # type: ignore[arg-type]
        path.write_bytes(buffer.getvalue().encode(encoding))

    return write


def frame(pairs: Pairs) -> pandas.DataFrame:
    return pandas.DataFrame(pairs, columns=list(COLUMNS))


def table(pairs: Pairs) -> pa.Table:
    return pa.table({name: [pair[index] for pair in pairs] for index, name in enumerate(COLUMNS)})


WRITERS: dict[str, Callable[[Path, Pairs], object]] = {
    "json/list.json": with_json,
    "json/lines.jsonl": with_json_lines,
    "csv/comma.csv": delimited("utf-8"),
    "csv/unix.csv": delimited("utf-8", dialect="unix"),
    "csv/tabs.tsv": delimited("utf-8", delimiter="\t"),
    "a spreadsheet's/semicolon.csv": delimited("utf-8-sig", delimiter=";"),
    "a spreadsheet's/unicode text.tsv": delimited("utf-16", delimiter="\t"),
    "pandas/table.csv": lambda path, pairs: frame(pairs).to_csv(path, index=False),
    "pandas/with index.csv": lambda path, pairs: frame(pairs).to_csv(path),
    "pandas/tabs.tsv": lambda path, pairs: frame(pairs).to_csv(path, index=False, sep="\t"),
    "pandas/lines.jsonl": lambda path, pairs: frame(pairs).to_json(path, orient="records", lines=True),
    "pandas/list.json": lambda path, pairs: frame(pairs).to_json(path, orient="records"),
    "pandas/columns.json": lambda path, pairs: frame(pairs).to_json(path),
    "pandas/table.json": lambda path, pairs: frame(pairs).to_json(path, orient="table"),
    "pandas/table.parquet": lambda path, pairs: frame(pairs).to_parquet(path),
    "pyarrow/table.parquet": lambda path, pairs: parquet.write_table(table(pairs), path),
    "pyarrow/table.csv": lambda path, pairs: arrow_csv.write_csv(table(pairs), path),
}
# A letter alone of a surrogate pair is no text. U+FDD0 is kept out of texts by Unicode; see `delimited_rows`.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0\x00"), min_size=1)


def read(path: Path) -> Pairs:
    rows = open_rows(InstructionSettings(source=str(path))).read()
    return [(text_of(row[COLUMNS[0]], "question"), text_of(row[COLUMNS[1]], "response")) for row in rows]


@pytest.mark.parametrize("name", WRITERS)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
@example(HARD)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_in_is_the_same_text_out(tmp_path: Path, name: str, pairs: Pairs) -> None:
    # pandas writes a carriage return without quotes: at the end of a row it is half of a CR LF, as far as anybody can tell.
    assume(
        not (name.startswith("pandas/") and name.endswith((".csv", ".tsv")) and any(last.endswith("\r") for _, last in pairs))
    )
    path = tmp_path / Path(name).name
    WRITERS[name](path, pairs)
    assert read(path) == pairs


@pytest.mark.parametrize("program", ["polars", "duckdb"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_files_of_other_programs_hold_the_same_texts(program: str, kind: str) -> None:
    """`make_files_of_other_programs.py` wrote them once, because these programs are large."""
    assert read(FILES / f"{program}.{kind}") == HARD


def test_semicolons_and_a_byte_order_mark_are_read_as_polars_writes_them() -> None:
    assert read(FILES / "polars_semicolon.csv") == HARD


@given(st.floats(allow_nan=False) | st.integers() | st.decimals(allow_nan=False, allow_infinity=False))
def test_any_number_in_json_keeps_its_spelling(tmp_path_factory: pytest.TempPathFactory, number: object) -> None:
    spelling = json.dumps(number) if isinstance(number, (int, float)) else f"{number:f}"
    path = tmp_path_factory.getbasetemp() / "numbers.jsonl"
    path.write_text(f'{{"question": {spelling}, "response": "x"}}\n', encoding="utf-8")
    assert read(path) == [(spelling, "x")]
