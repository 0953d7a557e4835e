"""`lilift data translate`: every language gets a file that a recipe reads back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.cli import app
from lilift.data.texts.instructions import load_instructions
from lilift.data.texts.translations import load_translations
from lilift.recipe.schema import InstructionSettings
from lilift.translation.translator import TranslatedSegment, Translator
from tests.translation.tiny_translators import save_nllb

pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
ROWS = [
    {"query": "Mary has 3 apples.\nHow many?", "response": "She has 3. The answer is: 3"},
    {"query": "Mary has 7 books.", "response": "7 books."},
    {"query": "", "response": "nothing asked"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translators") / "nllb"
    save_nllb(folder)
    return folder


@pytest.fixture(autouse=True)
def _echo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small random model writes no sentence, so this stands in for its words: capitals, without 7."""

    def translate(_self: Translator, segments: Sequence[str], *_languages: object, beam_size: int) -> list[TranslatedSegment]:
        assert beam_size >= 1
        return [TranslatedSegment(segment.upper().replace("7", ""), True) for segment in segments]

    monkeypatch.setattr(Translator, "translate", translate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def translate(tmp_path: Path, model: Path, *options: str) -> int:
    source = tmp_path / "train.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return app.main(["data", "translate", str(source), "--model", str(model), *options])


def test_a_file_for_each_language_that_recipes_read(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert translate(tmp_path, model, "--to", "sw,French", "--output", str(out)) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 rows (question from 'query', response from 'response'); left out: 1 empty question" in shown
    assert "sw: 2 texts; 1 translated twice, 0 of them then right; 1 lost a number, 0 were cut" in shown
    assert "fr.jsonl: 1 rows; left out: 1 lost a number" in shown
    [example], _ = load_instructions(InstructionSettings(source=str(out / "sw.jsonl")), seed=0)
    assert (example.question, example.answer) == ("MARY HAS 3 APPLES.\nHOW MANY?", "3")
    assert example.response == ROWS[0]["response"]
    [pair], _ = load_translations(str(out / "fr.jsonl"), "fr", needs_response=True)
    assert (pair.question, pair.text) == (ROWS[0]["query"], example.question)
    assert pair.response == ROWS[0]["response"]


def test_one_language_into_a_file_with_flagged_rows_and_translated_responses(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "sw.jsonl"
    options = ("--to", "sw", "--output", str(out), "--flagged", "keep", "--columns", "question,response")
    assert translate(tmp_path, model, *options) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["response"] for row in rows] == ["SHE HAS 3. THE ANSWER IS: 3", " BOOKS."]
    assert [row["english"] for row in rows] == [ROWS[0]["query"], ROWS[1]["query"]]
    capsys.readouterr()
    assert translate(tmp_path, model, *options) == 0
    assert "4 texts, 4 of them from the cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (("--to", "sw,fr", "--output", "a.jsonl"), "--output is one file", 2),
        (("--to", "xxx", "--output", "a"), "has no language 'xxx'", 4),
        (("--to", "sw", "--output", "a", "--columns", "answer"), "cannot translate 'answer'", 2),
        (("--to", "sw", "--output", "a", "--limit", "0"), "--limit 0 is too small", 2),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str, code: int
) -> None:
    assert translate(tmp_path, model, *options) == code
    assert says in capsys.readouterr().err
