"""Each question takes its route, and answers come in the language of the question if the user wants that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.data.world import test_problems as world_problems
from lilift.phases.answering.answerer import AnswerOptions
from lilift.phases.answering.load_answerer import load_answerer
from lilift.phases.answering.routed_responder import routed
from lilift.translation import translator
from lilift.translation.translator import TranslatedSegment, Translator
from tests.translation.tiny_translators import save_marian, save_nllb

pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
OROMO, ENGLISH = (world_problems(code, 3, 0)[2].question for code in ("om", "en"))
LLM = "stand-in:llm"
SHORT = ["--max-new-tokens", "24", "--json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("translators")


@pytest.fixture(autouse=True)
def perfect(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A translator that knows one question, and turns answers into "Deebiin" and their numbers."""
    if not (folder / "nllb").exists():
        save_nllb(folder / "nllb")

    def translate(_self: Translator, segments: Sequence[str], *languages: object, **_: int) -> list[TranslatedSegment]:
        into_english = getattr(languages[1], "code", "") == "en"
        known = {OROMO: ENGLISH} if into_english else {}
        return [
            TranslatedSegment(known.get(text, f"Deebiin {' '.join(filter(str.isdigit, text.split()))}"), True)
            for text in segments
        ]

    monkeypatch.setattr(Translator, "translate", translate)
    monkeypatch.setattr(translator, "SEGMENT_TOKENS", 10_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


def chat(capsys: pytest.CaptureFixture[str], question: str, *options: str) -> dict[str, object]:
    assert main(["chat", LLM, question, *SHORT, *options]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_each_answer_says_its_route_and_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pivot = ["--pivot", str(folder / "nllb"), "--language", "om"]
    alone = chat(capsys, OROMO, "--route", "auto")
    assert (alone["route"], alone["route_reason"]) == ("plain", "no other route is open")
    badly = chat(capsys, OROMO, "--route", "auto", *pivot)
    assert badly["route"] == "pivot"
    assert badly["translated"] == ENGLISH
    assert float(str(badly["bits_per_word"])) > 12
    well = chat(capsys, OROMO, "--route", "auto", "--route-tokens-per-word", "99", "--route-bits-per-word", "999", *pivot)
    assert well["route"] == "plain"
    assert well["answer"] == alone["answer"]
    assert badly["answer"] == chat(capsys, ENGLISH)["answer"]
    assert "route" not in chat(capsys, OROMO, *pivot), "without --route nothing is explained"


def test_answers_come_back_in_the_language_of_the_question(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--pivot", str(folder / "nllb"), "--language", "om", "--respond-in", "asked"]
    found = chat(capsys, OROMO, *options)
    assert str(found["answer"]).startswith("Deebiin ")
    assert found["untranslated"] == chat(capsys, ENGLISH)["answer"]
    assert isinstance(found["response_numbers_kept"], bool)
    english = chat(capsys, ENGLISH, *options[:2], "--respond-in", "asked")
    assert "untranslated" not in english, "English needs no translation"


def test_an_llm_that_reads_the_text_is_asked_to_answer_in_its_language() -> None:
    model = routed(load_answerer(LLM, AnswerOptions(template="plain", max_new_tokens=8)), None, None, "asked")
    asked, plain = (load_answerer(LLM, AnswerOptions(template="plain", max_new_tokens=8)).responder for _ in range(2))
    in_oromo = model.responder.in_language("om")  # type: ignore[attr-defined]
    assert in_oromo.generate([OROMO]) == asked.generate([f"{OROMO}\n\nAnswer in Oromo."])
    assert model.responder.generate([ENGLISH]) == plain.generate([ENGLISH])
    assert model.inputs["respond_in"] == "asked"


def test_an_evaluation_keeps_route_and_english_beside_each_answer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--pivot", str(folder / "nllb"), "--route", "auto", "--respond-in", "asked", "--output", str(out)]
    ask = ["eval", LLM, "--template", "plain", "--benchmark", "world", "--limit", "3", "--languages", "om,en"]
    assert main([*ask, "--max-new-tokens", "24", *options]) == 0
    said = capsys.readouterr().out
    assert "each question by its route, answers in the language of the question" in said
    path = out / "plain/world/om.jsonl"
    kept = path.read_text(encoding="utf-8")
    found = {line["question"]: line for line in map(json.loads, kept.splitlines())}
    assert found[OROMO]["route"] == "pivot"
    assert found[OROMO]["response"].startswith("Deebiin ")
    assert found[OROMO]["untranslated"]
    assert main([*ask, "--max-new-tokens", "24", *options]) == 0
    assert path.read_text(encoding="utf-8") == kept, "reading the answers again loses nothing"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--route", "bridge"], "--route bridge needs a bridge"),
        (["--route", "pivot"], "--route pivot needs a translator"),
        (["--route", "plain", "--pivot", "NLLB"], "--pivot has no effect with --route plain"),
        (["--route", "plain", "--route-bits-per-word", "3"], "--route-bits-per-word has no effect without --route auto"),
        (["--route", "auto", "--route-bits-per-word", "nan"], "out of range"),
        (["--pivot-back", "NLLB"], "--pivot-back has no effect"),
        (["--pivot", "MARIAN", "--respond-in", "asked", "--language", "om"], "knows one direction alone"),
    ],
)
def test_routes_that_are_not_open_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    if "MARIAN" in options and not (folder / "marian").exists():
        save_marian(folder / "marian")
    named = {"NLLB": str(folder / "nllb"), "MARIAN": str(folder / "marian")}
    assert main(["chat", LLM, OROMO, *SHORT, *[named.get(option, option) for option in options]]) == 2
    error = capsys.readouterr().err
    assert says in error.splitlines()[-1]
