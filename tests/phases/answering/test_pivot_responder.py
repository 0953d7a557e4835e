"""Translate, then solve: with a perfect translator, a model answers as in English."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.cli.app import main
from lilift.data.world import test_problems as world_problems
from lilift.phases.run import FinishedRun, RunOptions, run_recipe
from lilift.recipe.load import load_recipe
from lilift.translation import translator
from lilift.translation.translator import TranslatedSegment, Translator
from tests.phases.small_run import SMALL
from tests.translation.tiny_translators import save_nllb

pytest.importorskip("ctranslate2", reason="lilift translates with ctranslate2 (extra `pivot`)")
QUESTIONS = 6
ASK = [
    "eval",
    "stand-in:llm",
    "--template",
    "plain",
    "--benchmark",
    "world",
    "--limit",
    str(QUESTIONS),
    "--max-new-tokens",
    "48",
]


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translators") / "nllb"
    save_nllb(folder)
    return folder


@pytest.fixture(autouse=True)
def freed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stands in for the words of a small random model: it knows the world's problems, and loses the numbers of one of them."""
    known = {}
    for language in ("om", "fj"):
        for mine, english in zip(world_problems(language, 20, 0), world_problems("en", 20, 0), strict=True):
            known[mine.question] = english.question
    lost = world_problems("om", QUESTIONS, 0)[0].question
    known[lost] = "How many?"
    calls: list[str] = []

    def translate(_self: Translator, segments: Sequence[str], *_languages: object, beam_size: int) -> list[TranslatedSegment]:
        assert beam_size in (2, 4, 8)
        calls.append("translate")
        return [TranslatedSegment(known.get(segment, "How many?"), True) for segment in segments]

    monkeypatch.setattr(Translator, "translate", translate)
    monkeypatch.setattr(Translator, "free", lambda _self: calls.append("free"))
    monkeypatch.setattr(translator, "SEGMENT_TOKENS", 10_000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return calls


def lines(path: Path) -> dict[str, dict[str, object]]:
    return {line["id"]: line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_answers_are_those_to_the_english_questions(
    nllb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], freed: list[str]
) -> None:
    out = tmp_path / "out"
    options = [*ASK, "--languages", "en,om", "--pivot", str(nllb), "--beam-size", "2", "--output", str(out)]
    assert main(options) == 0
    said = capsys.readouterr()
    assert "GiB of weights on the CPU" in said.err
    assert (
        "world, Oromo into English: 6 texts; 1 translated twice, 0 of them then right; 1 lost a number, 0 were cut" in said.err
    )
    assert "questions translated into English" in said.out
    assert freed == ["translate", "translate", "free"]  # freed before the LLM answers
    english, oromo = (lines(out / "plain/world" / f"{code}.jsonl") for code in ("en", "om"))
    lost = [id for id, line in oromo.items() if not line["numbers_kept"]]
    assert len(lost) == 1
    for id, line in oromo.items():
        assert line["question"] != line["translated"]
        if id not in lost:
            assert line["translated"] == english[id]["question"]
            assert line["response"] == english[id]["response"]
    assert "translated" not in next(iter(english.values()))
    assert main(options) == 0  # the answers are kept, with what stands beside them
    assert lines(out / "plain/world/om.jsonl") == oromo
    direct = [*ASK, "--languages", "en,om", "--output", str(out)]
    capsys.readouterr()
    assert main(direct) == 5, "answers to translated questions are not mixed with others"
    assert "(changed: pivot)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (["--benchmark", "xnli", "--source", "sample", "--languages", "sw"], "does not translate these questions", 2),
        (["--languages", "om", "--beam-size", "0"], "--beam-size 0 is out of range", 2),
    ],
)
def test_what_cannot_be_translated_is_one_line(
    nllb: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str, code: int
) -> None:
    assert main([*ASK, "--pivot", str(nllb), *options]) == code
    assert says in capsys.readouterr().err


def test_translator_options_need_a_translator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--beam-size", "2"]) == 2
    assert "have no effect without --pivot" in capsys.readouterr().err


def test_chat_translates_the_question(nllb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem, english = world_problems("om", 3, 0)[2], world_problems("en", 3, 0)[2]
    options = ["--max-new-tokens", "12"]
    pivot = ["--pivot", str(nllb)]
    assert main(["chat", "stand-in:llm", problem.question, *options, *pivot, "--language", "om"]) == 0
    translated = capsys.readouterr().out
    assert main(["chat", "stand-in:llm", english.question, *options]) == 0
    assert capsys.readouterr().out == translated
    assert main(["chat", "stand-in:llm", english.question, *options, *pivot]) == 0
    assert "the translator is told that the questions are in English" in capsys.readouterr().err


def test_a_recipe_translates_before_its_model_answers(
    nllb: Path, tmp_path: Path, freed: list[str], finished_run: FinishedRun
) -> None:
    run = Path(shutil.copytree(finished_run.path, tmp_path / "run"))
    more = ("evaluate.benchmarks=[{name: world, limit: 4, languages: [en, om]}]", f"evaluate.pivot={{model: {nllb}}}")
    run_recipe(load_recipe("tiny-cpu", (*SMALL, *more)), run, RunOptions(quiet=True, resume=True))
    assert freed[-1] == "free"
    english, oromo = (lines(run / "evaluate/lifted/world" / f"{code}.jsonl") for code in ("en", "om"))
    assert sum(line["translated"] == english[id]["question"] for id, line in oromo.items()) == 3
    assert sum(line["response"] == english[id]["response"] for id, line in oromo.items()) >= 3
    systems = json.loads((run / "evaluate/scores.json").read_text())["systems"]
    assert all(system["title"].endswith(", questions translated into English") for system in systems)
