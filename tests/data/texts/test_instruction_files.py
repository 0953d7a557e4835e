"""Instructions from every kind of file give the same examples; a file that cannot be used is one clear line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from lilift.recipe.errors import DataError
from tests.data.texts.test_instructions import CSV, FLAT, jsonl, load


def _as_folder(path: Path) -> None:
    path.mkdir()
    jsonl(path / "a.jsonl", FLAT[:1])
    jsonl(path / "b.jsonl", FLAT[1:])
    (path / "README.md").write_text("not data", encoding="utf-8")


WRITERS = {
    "x.jsonl": lambda path: jsonl(path, FLAT),
    "x.jsonl.gz": lambda path: path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in FLAT).encode())),
    "x.json": lambda path: path.write_text(json.dumps(FLAT), encoding="utf-8"),
    "x.ndjson": lambda path: jsonl(path, FLAT),
    "x.jsonl.bz2": lambda path: path.write_bytes(bz2.compress("".join(json.dumps(row) + "\n" for row in FLAT).encode())),
    "x.json.xz": lambda path: path.write_bytes(lzma.compress(json.dumps({"data": FLAT}).encode())),
    "x.csv.zst": lambda path: path.write_bytes(pa.compress(CSV.encode(), codec="zstd", asbytes=True)),
    "x.csv": lambda path: path.write_text(CSV, encoding="utf-8"),
    "x.tsv": lambda path: path.write_text(CSV.replace(",", "\t"), encoding="utf-8"),
    "x.parquet": lambda path: datasets.Dataset.from_list(FLAT).to_parquet(str(path)),
    "saved": lambda path: datasets.Dataset.from_list(FLAT).save_to_disk(str(path)),
    "folder": _as_folder,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_examples(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    examples, _ = load(tmp_path / name)
    assert [(example.question, example.response) for example in examples] == [("How many?", "Seven."), ("How few?", "Three.")]


def test_reading_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    load(jsonl(tmp_path / "x.jsonl", FLAT))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", r"x\.jsonl: the file is empty"),
        ("x.jsonl", b'{"question": "a", "response": "b"}\nnot json\n', r"x\.jsonl:2: the line is not a JSON object"),
        (
            "x.jsonl",
            b'{"question": "a", "response": "b"}\n{"question": "caf\xe9"}\n',
            r"x\.jsonl:2: the line is not UTF-8 text",
        ),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"question": "a", "response": "b"}\n' * 999, mtime=0)[:60],
            r"x\.jsonl\.gz:\d+: the gzip file is cut",
        ),
        ("x.csv", "question,response\ncafé,x\n".encode("latin-1"), r"x\.csv:2: the line is not UTF-8 text"),
        ("x.csv", b"question,response\n", "has no rows"),
        ("x.csv", b'question,response\n"a, b",c\na,b,c\n', r"x\.csv:3: the row has 3 cells, and the header has 2"),
        ("x.jsonl", b'{"question": ["a"], "response": {"b": 1}}\n', r"none of 1 rows is usable \(question is not text 1\)"),
        ("x.parquet", b"PAR1 but not really", r"x\.parquet: cannot read the parquet data"),
        pytest.param("x.jsonl", b'{"question": "' + b"a" * (3 << 20), r"x\.jsonl:1: a line is longer", id="endless jsonl"),
        pytest.param("x.csv", b"question,response\n" + b"a" * (3 << 20), r"x\.csv:2: a line is longer", id="endless csv"),
        ("x.txt", b"text", r"x\.txt: unknown kind of file"),
        (
            "x.jsonl",
            b'{"text": "a", "label": 1}\n',
            r"among the columns text, label; name them with data\.instructions\.columns",
        ),
        ("x.jsonl", b'{"question": "", "response": "b"}\n', r"none of 1 rows is usable \(empty question 1\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b'\xef\xbb\xbf{"question": "a", "response": "b"}\r\n{"question": "c", "response": "d"}\r\n'),
        ("x.csv", b"\xef\xbb\xbfquestion,response\r\na,b\r\nc,d\r\n"),
    ],
    ids=["jsonl", "csv"],
)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    examples, _ = load(tmp_path / name)
    assert [(example.question, example.response) for example in examples] == [("a", "b"), ("c", "d")]


def test_libraries_say_nothing_beside_the_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"question": "a", "response": "b"}\nnot json\n')
    with pytest.raises(DataError):
        load(tmp_path / "x.jsonl")
    assert capfd.readouterr() == ("", "")


def test_missing_files_empty_and_mixed_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file or folder"):
        load(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match=r"the folder has no \.jsonl"):
        load(tmp_path)
    jsonl(tmp_path / "a.jsonl", FLAT)
    (tmp_path / "b.csv").write_text("question,response\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="mixes csv and json files"):
        load(tmp_path)


def test_a_named_column_that_is_missing_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'qestion' \(did you mean 'question'\?\).*choose from question, response"):
        load(jsonl(tmp_path / "x.jsonl", FLAT), columns={"question": "qestion", "response": "response"})


def test_a_data_set_on_a_hub_out_of_reach_is_one_line() -> None:
    with pytest.raises(DataError, match=r"nobody/nothing-of-the-kind: .*hub") as caught:
        load("nobody/nothing-of-the-kind")
    assert "\n" not in caught.value.line()
