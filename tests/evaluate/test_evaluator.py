"""The path from questions to scores: what is kept, what is not asked twice, what is refused."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lilift.evaluate.answer_loop import Progress
from lilift.evaluate.answering_cost import COST
from lilift.evaluate.answers.voting import voted
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.evaluator import CONTROL, UNTRAINED, evaluate, load_benchmarks, read_scores
from lilift.evaluate.response_stream import Response
from lilift.recipe.errors import DataError, RecipeError, RunFolderError
from lilift.recipe.interrupt import Interruption, StoppedBySignal
from lilift.recipe.schema import BenchmarkSettings

BENCHMARKS = [
    Benchmark("world", code, tuple(Question(f"q{n}", f"{code} {'very ' * n}{n} + 1?", Decimal(n + 1)) for n in range(10)), 10)
    for code in ("en", "om")
]


class Adder:
    """Answers "n + 1?" rightly in English; in other languages it has no answer to odd numbers. May fail after some calls."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.calls = 0
        self.fail_after = fail_after

    def generate(self, questions: Sequence[str]) -> list[str]:
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.asked += questions
        return [self._answer(question) for question in questions]

    def _answer(self, question: str) -> str:
        found = re.search(r"(\d+) \+ 1", question)
        assert found
        number = int(found.group(1))
        return f"{number} + 1 = {number + 1}." if question.startswith("en") or number % 2 == 0 else "I do not know."


class ShortSighted(Adder):
    def cuts(self, questions: Sequence[str]) -> list[bool]:
        return [len(question) > 40 for question in questions]


def files(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*.json*")) if path.name != COST)  # no two evaluations share their seconds
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in found}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_question_is_asked_kept_and_counted(tmp_path: Path) -> None:
    scores = evaluate(Adder(), BENCHMARKS, tmp_path, questions_at_once=4)
    english, oromo = scores.benchmarks[0].languages
    assert (english.correct, english.missing, english.questions) == (10, 0, 10)
    assert (oromo.correct, oromo.missing, oromo.questions) == (5, 5, 10)
    assert scores.benchmarks[0].macro == 0.5
    by_id = {line["id"]: line for line in lines(tmp_path / "lifted/world/om.jsonl")}
    assert list(by_id) == [f"q{n}" for n in range(10)], "in the order of the questions"
    assert by_id["q2"] == {
        "id": "q2", "question": "om very very 2 + 1?", "gold": "3", "response": "2 + 1 = 3.",
        "extracted": "3", "correct": True, "published": True, "cut": False,
    }  # fmt: skip
    assert (by_id["q3"]["extracted"], by_id["q3"]["correct"]) == (None, False)


def test_a_missing_answer_is_not_zero(tmp_path: Path) -> None:
    zero = Benchmark("world", "om", (Question("z", "om 1 + 1?", Decimal(0)),), 1)
    assert evaluate(Adder(), [zero], tmp_path).benchmarks[0].languages[0].correct == 0


def test_empty_responses_are_counted_among_those_without_an_answer(tmp_path: Path) -> None:
    class Silent:
        def generate(self, questions: Sequence[str]) -> list[str]:
            return ["" if question.endswith("1?") else "well" for question in questions]

    questions = tuple(Question(str(number), f"{number} + {number % 2}?", Decimal(0)) for number in range(4))
    score = evaluate(Silent(), [Benchmark("world", "om", questions, 4)], tmp_path).benchmarks[0].languages[0]
    assert (score.correct, score.missing, score.empty) == (0, 4, 2)


def test_sound_rows_and_the_authors_scoring_are_counted_beside(tmp_path: Path) -> None:
    questions = (
        Question("a", "om 2 + 1?", Decimal(3)),
        Question("b", "om 4 + 1?", Decimal(5), sound=False),
        Question("c", "om 1 + 1?", Decimal(0)),  # without an answer, which the authors take for 0
    )
    score = evaluate(Adder(), [Benchmark("world", "om", questions, 3)], tmp_path).benchmarks[0].languages[0]
    assert (score.correct, score.sound, score.sound_correct) == (2, 2, 1)
    assert (score.published_correct, score.published_only, score.lilift_only) == (3, 1, 0)


def test_labels_are_found_in_the_responses(tmp_path: Path) -> None:
    class Guess:
        def generate(self, questions: Sequence[str]) -> list[str]:
            return ["The answer is neutral." if question == "1" else "I do not know" for question in questions]

    questions = tuple(Question(id, id, "Neutral", ("Entailment", "Neutral", "Contradiction")) for id in ("1", "2"))
    score = evaluate(Guess(), [Benchmark("xnli", "sw", questions, 2)], tmp_path).benchmarks[0].languages[0]
    assert (score.correct, score.missing) == (1, 1)
    assert {(line["gold"], line["extracted"]) for line in lines(tmp_path / "lifted/xnli/sw.jsonl")} == {
        ("Neutral", "Neutral"),
        ("Neutral", None),
    }


def test_a_second_evaluation_asks_nothing_and_scores_the_same(tmp_path: Path) -> None:
    first = evaluate(Adder(), BENCHMARKS, tmp_path)
    before = files(tmp_path)
    again = Adder()
    assert evaluate(again, BENCHMARKS, tmp_path) == first
    assert (again.asked, files(tmp_path)) == ([], before)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4])
def test_an_interrupted_evaluation_goes_on_without_asking_twice(tmp_path: Path, calls: int) -> None:
    whole = evaluate(Adder(), BENCHMARKS, tmp_path / "whole", questions_at_once=4)
    broken = Adder(fail_after=calls)
    with pytest.raises(KeyboardInterrupt):
        evaluate(broken, BENCHMARKS, tmp_path / "broken", questions_at_once=4)
    assert not (tmp_path / "broken/scores.json").exists()
    rest = Adder()
    assert evaluate(rest, BENCHMARKS, tmp_path / "broken", questions_at_once=4) == whole
    assert sorted(broken.asked + rest.asked) == sorted(question.text for one in BENCHMARKS for question in one.questions)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")


def test_a_half_written_last_line_is_cut_and_asked_again(tmp_path: Path) -> None:
    whole = evaluate(Adder(), BENCHMARKS, tmp_path)
    path = tmp_path / "lifted/world/om.jsonl"
    before = path.read_bytes()
    path.write_bytes(before[:-30])
    rest = Adder()
    assert evaluate(rest, BENCHMARKS, tmp_path) == whole
    assert rest.asked == [lines(path)[-1]["question"]]
    assert path.read_bytes() == before


def test_kept_responses_are_judged_anew(tmp_path: Path) -> None:
    whole = evaluate(Adder(), BENCHMARKS, tmp_path)
    path = tmp_path / "lifted/world/om.jsonl"
    before = path.read_bytes()
    path.write_text(path.read_text(encoding="utf-8").replace('"correct": false', '"correct": true'), encoding="utf-8")
    assert evaluate(Adder(), BENCHMARKS, tmp_path) == whole
    assert path.read_bytes() == before


def test_a_smaller_limit_scores_fewer_questions_and_loses_no_response(tmp_path: Path) -> None:
    evaluate(Adder(), BENCHMARKS, tmp_path)
    few = [Benchmark(one.name, one.language, one.questions[:4], 10) for one in BENCHMARKS]
    before = (tmp_path / "lifted/world/om.jsonl").read_bytes()
    again = Adder()
    scores = evaluate(again, few, tmp_path)
    assert again.asked == []
    assert scores.benchmarks[0].languages[1].questions == 4
    assert (tmp_path / "lifted/world/om.jsonl").read_bytes() == before


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    evaluate(Adder(), BENCHMARKS, tmp_path)
    other = [Benchmark("world", "om", (Question("q1", "om 7 + 1?", Decimal(8)),), 1)]
    with pytest.raises(RunFolderError, match=r"om\.jsonl: the file holds an answer to another question with the id 'q1'"):
        evaluate(Adder(), other, tmp_path)


def test_responses_of_another_model_are_refused(tmp_path: Path) -> None:
    evaluate(Adder(), BENCHMARKS, tmp_path, inputs={"weights": "one"})
    evaluate(Adder(), BENCHMARKS, tmp_path, inputs={"weights": "one"})
    with pytest.raises(RunFolderError, match="responses of another model"):
        evaluate(Adder(), BENCHMARKS, tmp_path, inputs={"weights": "two"})
    evaluate(Adder(), BENCHMARKS, tmp_path, system=CONTROL, inputs={"weights": "two"})


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    evaluate(Adder(), BENCHMARKS, tmp_path)
    path = tmp_path / "lifted/world/om.jsonl"
    path.write_text("nonsense\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"om\.jsonl:1"):
        evaluate(Adder(), BENCHMARKS, tmp_path)


def test_a_request_to_stop_is_honoured_between_two_writes(tmp_path: Path) -> None:
    interruption = Interruption()
    responder = Adder()

    def stop_soon(progress: Progress) -> None:
        if progress.done:
            interruption._signal = 2  # type: ignore[assignment]

    with pytest.raises(StoppedBySignal, match="stopped after 4 of 20 questions"):
        evaluate(responder, BENCHMARKS, tmp_path, progress=stop_soon, interruption=interruption, questions_at_once=4)
    assert len(lines(tmp_path / "lifted/world/en.jsonl")) == len(responder.asked) == 4


def test_progress_counts_kept_rows_and_ends_with_everything_done(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(Adder(fail_after=1), BENCHMARKS, tmp_path, questions_at_once=4)
    seen: list[Progress] = []
    evaluate(Adder(), BENCHMARKS, tmp_path, progress=seen.append, questions_at_once=4)
    assert [(one.language, one.done) for one in seen] == [
        ("en", 4), ("en", 8), ("en", 10), ("om", 0), ("om", 4), ("om", 8), ("om", 10),
    ]  # fmt: skip
    assert seen[0].seconds_left is None
    assert (seen[-1].all_done, seen[-1].all_total, seen[-1].seconds_left, seen[-1].accuracy) == (20, 20, 0.0, 0.5)


def test_questions_that_were_cut_are_flagged_and_counted(tmp_path: Path) -> None:
    scores = evaluate(ShortSighted(), BENCHMARKS, tmp_path)
    kept = {line["id"]: line["cut"] for line in lines(tmp_path / "lifted/world/om.jsonl")}
    assert scores.benchmarks[0].languages[1].cut == sum(kept.values()) > 0
    assert kept["q9"]
    assert not kept["q0"]
    assert evaluate(ShortSighted(), BENCHMARKS, tmp_path) == scores


def test_systems_stand_in_scores_json_in_the_order_of_their_first_evaluation(tmp_path: Path) -> None:
    evaluate(Adder(), BENCHMARKS, tmp_path, system=UNTRAINED)
    evaluate(Adder(), BENCHMARKS, tmp_path)
    evaluate(Adder(), BENCHMARKS[:1], tmp_path, system=UNTRAINED)
    found = read_scores(tmp_path / "scores.json")
    assert [(scores.system, len(scores.benchmarks[0].languages)) for scores in found] == [("untrained", 1), ("lifted", 2)]


def test_no_scores_and_damaged_scores(tmp_path: Path) -> None:
    assert read_scores(tmp_path / "scores.json") == []
    (tmp_path / "scores.json").write_text('{"systems": [{}]}', encoding="utf-8")
    with pytest.raises(RunFolderError, match="lilift cannot read scores from it"):
        read_scores(tmp_path / "scores.json")


def test_benchmarks_ask_english_and_the_recipes_languages_unless_they_name_their_own() -> None:
    own = BenchmarkSettings(name="world", limit=3, languages=("ln", "ln"))
    assert [one.language for one in load_benchmarks([BenchmarkSettings(name="world", limit=3)], ["om", "qu"], seed=0)] == [
        "en", "om", "qu",
    ]  # fmt: skip
    assert [one.language for one in load_benchmarks([own], ["om"], seed=0)] == ["ln"]


def test_a_benchmark_named_twice_is_refused() -> None:
    twice = [BenchmarkSettings(name="world"), BenchmarkSettings(name="world", limit=3)]
    with pytest.raises(DataError, match="the same benchmark is listed twice"):
        load_benchmarks(twice, ["om"], seed=0)


class Streamer:
    """Answers in an order of its own, each question `samples` times; may die after some responses."""

    def __init__(self, die_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.die_after = die_after

    def generate(self, questions: Sequence[str]) -> list[str]:
        raise AssertionError(f"a responder that streams is asked for a stream, not for {questions}")

    def stream(self, questions: Sequence[str], *, samples: int) -> Iterator[Response]:
        order = sorted(range(len(questions)), key=lambda place: questions[place][::-1])
        for count, (sample, place) in enumerate(itertools.product(range(samples), order)):
            if count == self.die_after:
                raise KeyboardInterrupt
            self.asked.append(questions[place])
            found = re.search(r"(\d+) \+ 1", questions[place])
            assert found
            number = int(found.group(1))
            wrong = sample > 0 and number % 3 == 0  # of three drawn answers two are wrong, in different ways
            yield Response(place, f"It is {number + 1 + 10 * sample if wrong else number + 1}.", 5, ended=sample == 0)


def test_a_stream_is_kept_as_it_comes_and_goes_on_after_a_break(tmp_path: Path) -> None:
    whole = evaluate(Streamer(), BENCHMARKS, tmp_path / "whole")
    assert whole.benchmarks[0].macro == 1.0
    broken = Streamer(die_after=7)
    with pytest.raises(KeyboardInterrupt):
        evaluate(broken, BENCHMARKS, tmp_path / "broken", questions_at_once=4)
    kept = lines(tmp_path / "broken/lifted/world/en.jsonl")
    assert [line["question"] for line in kept] == broken.asked, "what was answered before the break is not lost"
    assert kept[0] | {"tokens": 5, "ended": True} == kept[0]
    rest = Streamer()
    assert evaluate(rest, BENCHMARKS, tmp_path / "broken", questions_at_once=4) == whole
    assert sorted(broken.asked + rest.asked) == sorted(question.text for one in BENCHMARKS for question in one.questions)


def test_of_several_samples_the_majority_counts_and_all_are_kept(tmp_path: Path) -> None:
    scores = evaluate(Streamer(), BENCHMARKS, tmp_path, samples=3, inputs={"samples": 3})
    by_id = {line["id"]: line for line in lines(tmp_path / "lifted/world/en.jsonl")}
    assert by_id["q2"]["passed"] == [True, True, True]
    assert by_id["q3"]["responses"] == ["It is 4.", "It is 14.", "It is 24."]
    assert (by_id["q3"]["passed"], by_id["q3"]["response"]) == ([True, False, False], "It is 4.")
    assert scores.benchmarks[0].languages[0].correct == 10
    before = files(tmp_path)
    again = Streamer()
    assert evaluate(again, BENCHMARKS, tmp_path, samples=3, inputs={"samples": 3}) == scores
    assert (again.asked, files(tmp_path)) == ([], before)


def test_samples_need_a_model_that_draws(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="leave --samples out"):
        evaluate(Adder(), BENCHMARKS, tmp_path, samples=2)


@pytest.mark.parametrize(
    ("answers", "place"),
    [(["1", "2", "2"], 1), ([None, None, "3"], 2), (["1", "2"], 0), ([None, None], 0), (["2", "1", None, "1"], 1)],
)
def test_the_commonest_answer_wins(answers: list[str | None], place: int) -> None:
    assert voted(answers) == place
