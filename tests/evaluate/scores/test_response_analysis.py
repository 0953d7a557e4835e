"""What responses are like: language, length, agreement, and how it is written down."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lilift.data.world import test_problems as world_problems
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import evaluate, read_scores
from lilift.evaluate.response_stream import Response
from lilift.evaluate.scores.response_analysis import analyse, profile_languages, read_profiles
from lilift.evaluate.scores.response_language import LanguageGuesser
from lilift.recipe.errors import RunFolderError

QUESTIONS = tuple(Question(str(number), f"What is {number} + 1?", Decimal(number + 1)) for number in range(4))
BENCHMARKS = [Benchmark("world", code, QUESTIONS, 4) for code in ("en", "om")]


class Thrice:
    """Draws three answers, of which the last is wrong."""

    def generate(self, questions: Sequence[str]) -> list[str]:
        return [""] * len(questions)

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        for place, sample in itertools.product(range(len(questions)), range(samples)):
            number = int(questions[place].split()[2])
            yield Response(place, f"It is {number + 1 + (sample == 2)}.", 5, ended=True)


@pytest.fixture(scope="module")
def guesser() -> LanguageGuesser:
    codes = ("en", "om", "qu", "ln", "fj")
    return LanguageGuesser({code: [problem.question for problem in world_problems(code, 150, 0)] for code in codes})


def line(number: int, response: str = "It is 3.", extracted: str | None = "3", **more: Any) -> dict[str, Any]:
    return {"id": str(number), "question": "Omar kanniisa 25 qaba", "response": response, "extracted": extracted, **more}


@pytest.mark.parametrize("code", ["om", "qu", "ln", "fj"])
def test_responses_of_the_world_are_told_from_english(guesser: LanguageGuesser, code: str) -> None:
    fresh = [problem.question for problem in world_problems(code, 200, 7)][150:]
    english = [problem.question for problem in world_problems("en", 200, 7)][150:]
    assert {guesser.guess(text, code) for text in fresh} == {"asked"}
    assert {guesser.guess(text, code) for text in english} == {"english"}


def test_scripts_and_numbers_alone() -> None:
    guesser = LanguageGuesser({"en": ["How many apples are there?"], "bn": ["কতগুলি আপেল আছে?"], "de": ["Wie viele Äpfel?"]})
    assert guesser.guess("মোট 12 টি আপেল", "bn") == "asked"
    assert guesser.guess("There are 12 apples", "bn") == "english"
    assert guesser.guess("一共有十二个苹果", "bn") == "other"
    assert guesser.guess("一共有十二个苹果", "en") == "other"
    assert guesser.guess("There are 12 apples", "en") == "english"
    assert guesser.guess("12 + 3 = 15", "de") == "none"
    assert guesser.guess("", "de") == "none"


def test_real_questions_are_told_from_english(shared_data: Path) -> None:
    """The second half of MMWP's questions in languages of Latin script, learnt from the first half."""
    texts: dict[str, list[str]] = {}
    for code in ("en", "sw", "af", "nl", "vi", "id", "eu", "lb"):
        path = next((shared_data / "mmwp").rglob(f"test_{code}.json*"))
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        texts[code] = [row["question"] for row in json.loads(content)][:240]
    guesser = LanguageGuesser({code: found[:120] for code, found in texts.items()})
    for code, found in texts.items():
        guesses = [guesser.guess(text, code) for text in found[120:]]
        assert guesses.count("english" if code == "en" else "asked") >= 118, code
        if code != "en":
            assert [guesser.guess(text, code) for text in texts["en"][120:]].count("english") >= 118, code


def test_a_profile_counts_each_share_by_itself() -> None:
    english = [line(number, extracted=str(number)) for number in range(4)]
    foreign = [
        line(0, extracted="0", tokens=10, ended=True),
        line(1, extracted=None, response="", tokens=2, ended=True),
        line(2, extracted="9", response="Omar kanniisa 25 qaba", tokens=48, ended=False),
        line(3, extracted="3", tokens=20, ended=True),
    ]
    found = profile_languages({"en": english, "om": foreign})
    assert found["om"].agrees_with_english == 0.5, "a missing answer agrees with nothing"
    assert found["en"].agrees_with_english is None
    assert (found["om"].tokens, found["om"].unended, found["en"].tokens, found["en"].unended) == (15, 0.25, None, None)
    assert (found["om"].none, found["om"].asked + found["om"].english) == (0.25, 0.75)
    assert found["om"].samples == 1
    assert found["om"].any_right is None


def test_pass_at_k_and_pass_at_1() -> None:
    drawn = [[True, False, False, True], [False] * 4, [True] * 4]
    found = profile_languages({"om": [line(number, passed=one) for number, one in enumerate(drawn)]})["om"]
    assert (found.samples, found.first_right, found.any_right) == (4, 0.5, pytest.approx(2 / 3))
    assert found.agrees_with_english is None, "English was not asked"


def test_an_evaluation_leaves_json_csv_and_markdown(tmp_path: Path) -> None:
    evaluate(Thrice(), BENCHMARKS, tmp_path, samples=3)
    profiles = read_profiles(tmp_path)
    assert profiles["lifted"]["world"]["om"].first_right == pytest.approx(2 / 3)
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["language"], row["correct"], row["samples"]) for row in rows] == [("en", "4", "3"), ("om", "4", "3")]
    table = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert "| Oromo (om) | 100.0% | " in table
    assert "| mean without English | 100.0% |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert "| on sound rows | by the authors' scoring |" in table
    assert analyse(tmp_path, read_scores(tmp_path / "scores.json")) == profiles


def test_damaged_and_absent_profiles(tmp_path: Path) -> None:
    assert read_profiles(tmp_path) == {}
    (tmp_path / "analysis.json").write_text('{"systems": {"a": 3}}', encoding="utf-8")
    with pytest.raises(RunFolderError, match="lilift cannot read an analysis from it"):
        read_profiles(tmp_path)
