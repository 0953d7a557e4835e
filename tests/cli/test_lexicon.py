"""`lilift lexicon`: from a published file to a lexicon and its figures, and every mistake one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lilift.cli import app

TABLE = "en\tsw\tbn\ndog\tmbwa\tকুকুর\nhotel\thotel\tহোটেল\ncat\tpaka\tবিড়াল\n"


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = app.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_import_merge_and_stats_work_together(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Path) -> None:
    into = tmp_path / "one"
    code, out, err = call(
        capsys, "lexicon", "import", words, "--languages", "sw,bn", "--into", into, "--licence", "CC0", "--json"
    )
    assert code == 0, err
    swahili, bengali = json.loads(out)
    assert (swahili["words"], swahili["sources"][0]["dropped"]) == (2, {"identical": 1})
    assert (bengali["words"], bengali["scripts"]) == (3, {"Beng": 3})
    more = tmp_path / "more.txt"
    more.write_text("dog jibwa\nhouse nyumba\n", encoding="utf-8")
    assert call(capsys, "lexicon", "import", more, "--language", "sw", "--into", tmp_path / "two")[0] == 0
    merged = tmp_path / "lexicons" / "sw.parquet"
    pair = (into / "sw.parquet", tmp_path / "two" / "sw.parquet")
    assert call(capsys, "lexicon", "merge", *pair, "--output", merged)[0] == 0
    text = tmp_path / "text.txt"
    text.write_text("the dog saw 12 dogs in a house with Tom\n", encoding="utf-8")
    code, out, _ = call(capsys, "lexicon", "stats", merged, "--text", text, "--json")
    (stats,) = json.loads(out)
    assert [source["name"] for source in stats["sources"]] == ["words", "more"]
    assert [source["licence"] for source in stats["sources"]] == ["CC0", "not stated"]
    assert stats["words"] == 3
    assert stats["coverage"] == pytest.approx(3 / 8, abs=1e-4)
    assert stats["uncovered"]["saw"] == 1
    assert "dog" not in stats["uncovered"]


def test_figures_are_shown_for_one_lexicon_and_for_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Path
) -> None:
    call(capsys, "lexicon", "import", words, "--languages", "sw,bn", "--into", tmp_path / "folder", "--source", "muse")
    code, out, _ = call(capsys, "lexicon", "stats", tmp_path / "folder" / "sw.parquet")
    assert code == 0
    assert "Swahili (sw): 2 English words, 2 pairs" in out
    assert "licence: CC BY-NC 4.0" in out
    assert "identical 1" in out
    code, out, _ = call(capsys, "lexicon", "stats", tmp_path / "folder", "--text", words.with_suffix(".tsv"))
    assert code == 3  # a dictionary is no text
    code, out, _ = call(capsys, "lexicon", "stats", tmp_path / "folder")
    assert code == 0
    assert "muse (CC BY-NC 4.0)" in out


def test_the_same_import_gives_the_same_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Path) -> None:
    for folder in ("a", "b"):
        call(capsys, "lexicon", "import", words, "--languages", "sw", "--into", tmp_path / folder)
    assert (tmp_path / "a" / "sw.parquet").read_bytes() == (tmp_path / "b" / "sw.parquet").read_bytes()


def test_a_lexicon_that_is_there_is_replaced_only_when_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Path
) -> None:
    command = ("lexicon", "import", words, "--languages", "bn", "--into", tmp_path)
    assert call(capsys, *command)[0] == 0
    code, _, err = call(capsys, *command)
    assert (code, "--replace" in err) == (2, True)
    assert call(capsys, *command, "--replace")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["import", "nowhere.txt", "--language", "sw"], 3, "cannot read the file"),
        (["import", "words.tsv", "--language", "swa"], 3, "did you mean 'sw'"),
        (["import", "words.tsv", "--language", ","], 2, "no language is named"),
        (["import", "words.tsv", "--language", "sw", "--most-words", "0"], 2, "--most-words 0"),
        (["stats", "words.tsv"], 3, "does not say its language"),
        (["stats", "nowhere"], 3, "no such file or folder"),
        (["stats", "."], 3, "has no lexicon"),
        (["merge", "words.tsv", "--output", "x.tsv"], 2, "does not end in .parquet"),
        (["merge", "words.tsv", "--output", "x.parquet"], 3, "cannot read the lexicon"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: Path,
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(words.parent)
    found, _, err = call(capsys, "lexicon", *arguments)
    assert (found, expected in err, err.count("\n")) == (code, True, 1), err
