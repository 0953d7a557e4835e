"""JSON files: numbers as they are spelled, every way of holding rows, in pieces, and faults by line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lilift.data.rows import json_rows
from lilift.data.rows.cells import TWO_VALUES
from lilift.data.rows.json_rows import read_json_rows
from lilift.recipe.errors import DataError

ROWS = [{"question": "How many?", "response": "Seven."}, {"question": "How few?", "response": "Three."}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(path: Path, text: str) -> list[dict[str, Any]]:
    path.write_text(text, encoding="utf-8", newline="")
    return list(read_json_rows(path))


@pytest.mark.parametrize(
    "spelling",
    ["18", "18.0", "12.50", "1E5", "1e-7", "-0", "0.1000000000000000055", "100000000000000000000", "123456789.123456789"],
)
@pytest.mark.parametrize("form", ['{{"a": {0}}}\n{{"a": "x"}}\n', '[{{"a": {0}}}]', '{{"data": [{{"a": {0}}}]}}'])
def test_a_number_keeps_its_spelling(tmp_path: Path, spelling: str, form: str) -> None:
    assert read(tmp_path / "x.json", form.format(spelling))[0] == {"a": spelling}


def test_a_number_changes_no_neighbour(tmp_path: Path) -> None:
    """`datasets` decodes every text of a column that is itself JSON, once one value is a number."""
    texts = ["007", "12.50", "[1, 2, 3]", "null", "true", '"quoted"', "2024-01-01", "2024-01-01T10:00:00Z", "NaN", ""]
    lines = "".join(json.dumps({"a": text}) + "\n" for text in texts)
    assert [row["a"] for row in read(tmp_path / "x.jsonl", '{"a": 18}\n' + lines)] == ["18", *texts]


def test_a_column_may_change_its_kind_late_in_the_file(tmp_path: Path) -> None:
    rows = [f'{{"question": "{"q" * 100}", "answer": {number}}}\n' for number in range(100_000)]
    rows.append('{"question": "half", "answer": "1/2"}\n')
    found = read(tmp_path / "x.jsonl", "".join(rows))
    assert (found[0]["answer"], found[-2]["answer"], found[-1]["answer"]) == ("0", "99999", "1/2")


def test_nothing_and_a_missing_number_are_missing(tmp_path: Path) -> None:
    assert read(tmp_path / "x.jsonl", '{"a": null, "b": NaN, "c": true, "d": -Infinity}\n') == [
        {"a": None, "b": None, "c": True, "d": "-Infinity"}
    ]


def _by_column(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES.rstrip("\n"),
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\r"),
        LINES.replace("\n", "\n\n \n"),
        LINES.replace("\n", ""),
        "\ufeff" + LINES,
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n\n" + json.dumps(ROWS) + "\n",
        json.dumps({"data": ROWS}),
        json.dumps({"version": 1.0, "license": {"name": "x"}, "tags": ["a"], "data": ROWS, "count": 2}, indent=1),
        json.dumps({"train": ROWS, "test": []}),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        json.dumps(_by_column(ROWS)),
        json.dumps({name: dict(enumerate(cells)) for name, cells in _by_column(ROWS).items()}),
    ],
    ids=[
        "lines", "no last end", "CRLF", "CR", "empty lines", "one line", "byte-order mark", "list", "indented list",
        "list after blanks", "data", "data among others", "two lists, one empty", "indented objects", "columns", "pandas",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_every_way_of_holding_rows_gives_the_same_rows(tmp_path: Path, text: str, name: str) -> None:
    assert read(tmp_path / name, text) == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]},
        {"conversations": [{"from": "human", "value": "Hi?"}]},
        {"prompt": [{"role": "user", "content": "Hi?"}], "completion": [{"role": "assistant", "content": "Hello."}]},
        {"question": [{"type": "text", "text": "Hi?"}], "response": "Hello."},
        {"question": "Hi?", "response": "Hello.", "tags": ["a", "b"]},
        {"messages": [None, {"role": "user", "content": "Hi?"}]},
    ],
)
def test_one_object_with_lists_of_its_own_is_one_row(tmp_path: Path, row: dict[str, Any]) -> None:
    assert read(tmp_path / "x.json", json.dumps(row, indent=1)) == [row]


def test_rows_across_the_pieces_of_a_file_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"a": "é" * number, "b": str(number)} for number in range(60)]
    for piece in (1, 7, 64):
        monkeypatch.setattr(json_rows, "_PIECE", piece)
        assert read(tmp_path / "x.json", json.dumps(rows, ensure_ascii=False, indent=1)) == rows
        assert read(tmp_path / "y.json", '{"data": ' + json.dumps(rows) + ', "n": 12}') == rows
        assert read(tmp_path / "z.json", '[{"a": 123456}, {"a": 1.50e10}]') == [{"a": "123456"}, {"a": "1.50e10"}]


def test_a_column_that_stands_twice_has_no_value_unless_both_are_the_same(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "x.jsonl", '{"a": "one", "a": "two", "b": 1, "b": 1}\n')
    assert row["a"] is TWO_VALUES
    assert row["b"] == "1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", LINES + "not json\n", r"x\.jsonl:3: the line is not a JSON object"),
        ("x.jsonl", LINES + '{"question": "cut', r"x\.jsonl:3: the line is not a JSON object"),
        ("x.jsonl", LINES + "[1]\n", r"x\.jsonl:3: the line is not a JSON object"),
        ("x.jsonl", LINES + '{"a": "b"} and more\n', r"x\.jsonl:3: the line is not a JSON object"),
        ("x.jsonl", "not json\n" + LINES, r"x\.jsonl:1: the line is not a JSON object"),
        ("x.jsonl", '{"a": \n' + LINES, r"x\.jsonl:\d: the file is not JSON"),
        ("x.json", json.dumps(ROWS, indent=1)[:-9], r"x\.json:\d: the file is not JSON"),
        ("x.json", '[{"a": 1},\n {"a": oops}]', r"x\.json:2: the file is not JSON"),
        ("x.json", '[{"a": 1}\n {"a": 2}]', r"x\.json:2: the file is not JSON \(, or \] is missing\)"),
        ("x.json", '["a", "b"]', r"x\.json:1: the line is not a JSON object"),
        ("x.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', "two lists of rows, 'train' and 'test'; keep one list"),
        ("x.jsonl", LINES + "[" * 100_000 + "\n", r"x\.jsonl:3: the line is not a JSON object"),
        ("x.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / name, text)
    assert "\n" not in caught.value.line()


def test_an_endless_value_is_refused_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_LONGEST_VALUE", 4 << 20)
    with pytest.raises(DataError, match="a row is longer than 64 MiB"):
        read(tmp_path / "x.json", '[{"a": "' + "a" * (9 << 20))


@pytest.mark.parametrize("form", ["lines", "list"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    path, row = tmp_path / "x.json", json.dumps({"question": "q" * 500, "response": "r" * 500})
    before, between, after = ("", "\n", "\n") if form == "lines" else ("[", ",", "]")
    path.write_text(before + between.join([row] * 60_000) + after, encoding="utf-8")
    program = (
        "import resource, sys; from pathlib import Path; from lilift.data.rows.json_rows import read_json_rows\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(1 for _ in read_json_rows(Path(sys.argv[1])))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    count, kib = map(int, done.stdout.split())
    assert count == 60_000
    assert kib < 20 << 10
