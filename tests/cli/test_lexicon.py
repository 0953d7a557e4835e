"""`lilift lexicon`: from a published file to a lexicon and its figures, and every mistake one line."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lilift.cli import app
from lilift.data.lexicons.publishers import PUBLISHERS, Download, Publisher

TABLE = "en\tsw\tbn\ndog\tmbwa\tকুকুর\nhotel\thotel\tহোটেল\ncat\tpaka\tবিড়াল\n"

INDUCE = ["induce", "--english", "nowhere.vec", "--foreign", "nowhere.vec", "--language", "sw"]


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


def test_what_is_left_out_is_told_with_examples_and_english_on_the_right_is_a_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.tsv").write_text("# CC BY\nwater\tmaji\nhotel\thotel\ngood day\thabari\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("maji safi\twater\nnyumba\thouse\nmti\ttree\n", encoding="utf-8")
    code, out, err = call(capsys, "lexicon", "import", tmp_path / "a.tsv", "--language", "Swahili", "--into", tmp_path / "a")
    assert (code, err) == (0, "")
    assert "identical, such as: hotel → hotel" in out
    assert "several English words, such as: good day → habari" in out
    assert "lines that are no pairs: comment 1" in out
    code, out, err = call(capsys, "lexicon", "import", tmp_path / "b.tsv", "--language", "swh_Latn", "--into", tmp_path / "b")
    assert (code, "warning: Swahili (sw): b has English on the right" in err) == (0, True)
    merge = (
        "lexicon",
        "merge",
        tmp_path / "a" / "sw.parquet",
        tmp_path / "b" / "sw.parquet",
        "--output",
        tmp_path / "c.parquet",
    )
    code, out, _ = call(capsys, *merge)
    assert code == 0
    assert "1 pairs left out, because an earlier lexicon has the word" in out
    assert "such as: water → maji safi" in out
    assert "identical, such as: hotel → hotel" in out


def test_a_spelling_that_may_mean_something_else_is_remarked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "no.tsv").write_text("water\tvann\n", encoding="utf-8")
    code, _, err = call(capsys, "lexicon", "import", tmp_path / "no.tsv", "--language", "Norwegian", "--into", tmp_path)
    assert (code, "Nynorsk is nn" in err) == (0, True)
    assert (tmp_path / "nb.parquet").is_file()


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
        (["import", "words.tsv", "--language", "Swahilli"], 3, "did you mean 'sw'"),
        (["import", "words.tsv", "--language", ","], 2, "no language is named"),
        (["import", "words.tsv", "--language", "sw", "--most-words", "0"], 2, "--most-words 0"),
        (["stats", "words.tsv"], 3, "does not say its language"),
        (["stats", "nowhere"], 3, "no such file or folder"),
        (["stats", "."], 3, "has no lexicon"),
        (["merge", "words.tsv", "--output", "x.tsv"], 2, "does not end in .parquet"),
        (["merge", "words.tsv", "--output", "x.parquet"], 3, "cannot read the lexicon"),
        ([*INDUCE, "--output", "x.tsv"], 2, "--output x.tsv does not end in .parquet"),
        ([*INDUCE, "--gold", "nowhere.txt"], 3, "nowhere.txt: cannot read the file"),
        ([*INDUCE, "--seeds", "0"], 2, "--seeds 0 is too small"),
        (INDUCE, 3, "nowhere.vec: cannot read the vectors"),
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


def test_induce_writes_a_lexicon_and_measures_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ana", "isa", "omo", "ulu")]
    draw = random.Random(0)
    vectors = {word: [draw.gauss(0, 1) for _ in range(6)] for word in (*words, *map(str, range(1900, 1930)))}
    for name, prefix, turn in (("english.vec", "", 1), ("foreign.vec", "w", -1)):
        rows = [
            f"{word if word.isdigit() else prefix + word} {' '.join(str(turn * number) for number in vector)}"
            for word, vector in vectors.items()
        ]
        (tmp_path / name).write_text(f"{len(rows)} 6\n" + "\n".join(rows) + "\n", encoding="utf-8")
    gold = tmp_path / "gold.tsv"
    gold.write_text("".join(f"{word}\tw{word}\n" for word in words), encoding="utf-8")
    files = ("--english", tmp_path / "english.vec", "--foreign", tmp_path / "foreign.vec")
    output = tmp_path / "lexicons" / "sw.parquet"
    command = ("lexicon", "induce", *files, "--language", "sw", "--output", output, "--start", "numerals", "--gold", gold)
    code, out, err = call(capsys, *command, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["attempts"][0]["start"] == "numerals"
    assert found["precision"]["words"] == len(words)
    assert found["precision"]["1"] > 0.9
    assert found["agreement"] is None
    _, out, _ = call(capsys, "lexicon", "stats", output, "--json")
    assert json.loads(out)[0]["pairs"] == found["pairs"] > 0.8 * len(words)
    code, _, err = call(capsys, *command)
    assert (code, "--replace" in err) == (2, True)


def test_fetch_shows_licences_first_and_makes_a_lexicon_of_each_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched: list[str] = []

    def from_here(publisher: Publisher, download: Download, folder: Path) -> Path:
        fetched.append(download.file)
        path = folder / publisher.name / download.file
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = {"en-bn.txt": "dog কুকুর\n", "bengali.txt": "dog\tসারমেয়\ncat\tবিড়াল\n", "swahili.txt": "dog\tmbwa\n"}
        path.write_text(texts[download.file], encoding="utf-8")
        return path

    monkeypatch.setattr("lilift.data.lexicons.published_dictionaries.fetch", from_here)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    command = ("lexicon", "fetch", "muse,wiktionary", "--languages", "bn,sw", "--into", tmp_path, "--json")
    code, _, err = call(capsys, *command)
    assert (code, fetched) == (2, [])
    assert "licence: CC BY-NC 4.0" in err
    assert "give --yes" in err
    code, out, err = call(capsys, *command, "--yes")
    assert code == 0, err
    assert fetched == ["en-bn.txt", "bengali.txt", "swahili.txt"]
    assert "muse has no dictionary for sw" in err
    bengali, swahili = json.loads(out)
    assert [source["name"] for source in bengali["sources"]] == ["muse", "wiktionary"]
    assert (bengali["words"], bengali["pairs"], swahili["pairs"]) == (2, 2, 1)
    assert bengali["sources"][0]["location"].startswith("https://dl.fbaipublicfiles.com/arrival/dictionaries/en-bn.txt")
    code, _, err = call(capsys, *command, "--yes")
    assert len(fetched) == 3, "what is there is not made anew"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder that publishers' addresses lead to, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "publishers"))

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        local = {name: replace(publisher, files=f"{address}/{name}/") for name, publisher in PUBLISHERS.items()}
        monkeypatch.setattr("lilift.data.lexicons.publishers.PUBLISHERS", local)
        try:
            yield tmp_path / "publishers", asked
        finally:
            running.shutdown()
            thread.join()


def test_fetch_makes_a_lexicon_of_the_publishers_own_files(
    capsys: pytest.CaptureFixture[str], served: tuple[Path, list[str]], shared_data: Path, tmp_path: Path
) -> None:
    folder, asked = served
    files = {"wiktionary/swahili.txt": "lexicon_wechsel_wiktionary/swahili", "afromt/en-sw.txt": "lexicon_afromt/en-sw"}
    for name, packed in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(gzip.decompress((shared_data / f"{packed}.txt.gz").read_bytes()))
    command = ("lexicon", "fetch", "wiktionary,afromt", "--languages", "sw", "--into", tmp_path, "--yes", "--json")
    code, out, err = call(capsys, *command)
    assert code == 0, err
    (stats,) = json.loads(out)
    assert [source["name"] for source in stats["sources"]] == ["wiktionary", "afromt"]
    assert stats["words"] > 10_000
    for source, name in zip(stats["sources"], files, strict=True):
        assert source["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert asked == [f"/{name}" for name in files]
    assert call(capsys, *command, "--replace")[1] == out
    assert len(asked) == 2, "what is there and whole is not downloaded again"
    (tmp_path / "downloads" / "afromt" / "en-sw.txt").unlink()
    (folder / "afromt" / "en-sw.txt").write_text("dog\tmbwa\n", encoding="utf-8")
    code, _, err = call(capsys, *command, "--replace")
    assert (code, "is not the published one that lilift knows" in err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["mouse", "--languages", "sw"], 2, "choose from muse, wiktionary"),
        (["muse", "--languages", "sw"], 3, "no dictionary for sw in muse; add wiktionary, afromt"),
        (["muse,gatitos", "--languages", "Swahilli"], 3, "did you mean 'sw'"),
        (["muse", "--languages", ","], 2, "no language is named"),
    ],
)
def test_a_mistaken_fetch_is_one_line_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, expected: str
) -> None:
    found, _, err = call(capsys, "lexicon", "fetch", *arguments)
    assert (found, expected in err, err.count("\n")) == (code, True, 1), err
