"""The likeliest label as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lilift.evaluate.benchmarks.benchmark import Benchmark, Question
from lilift.evaluate.choice_likelihood import LikelihoodResponder
from lilift.evaluate.evaluator import evaluate
from lilift.model.decoding.likelihood import Likelihood
from lilift.recipe.errors import RecipeError

LETTERS = ("A", "B", "C", "D", "E")


class Ranks:
    """Finds the letter likeliest that the question ends in."""

    def likelihoods(self, questions: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        return [
            [Likelihood(-1.0 if question.endswith(answer) else -2.0, greedy=False) for answer in given]
            for question, given in zip(questions, answers, strict=True)
        ]


def test_the_likeliest_label_is_the_answer_and_by_the_authors_scoring_too(tmp_path: Path) -> None:
    questions = (
        Question("1", "Say B", "B", LETTERS, ("u", "v", "w", "x", "y")),
        Question("2", "Say C", "A", LETTERS, ("u", "v", "w", "x", "y")),
    )
    responder = LikelihoodResponder(Ranks(), LETTERS)
    assert responder.generate(["Say B", "say nothing"]) == ["B.", "A."]
    asked = [Benchmark("xcsqa-likelihood", "sw", questions, 2)]
    (scores,) = evaluate(Ranks(), asked, tmp_path).benchmarks  # type: ignore[arg-type]
    assert scores.benchmark == "xcsqa-likelihood", "never to be taken for answers that were written"
    score = scores.languages[0]
    assert (score.correct, score.missing, score.published_correct) == (1, 0, 1)


def test_every_question_is_ranked_over_its_own_labels(tmp_path: Path) -> None:
    five = Question("1", "Say D", "D", LETTERS, tuple("uvwxy"))
    three = Question("2", "Say anything but D", "A", LETTERS[:3], tuple("uvw"))
    asked = [Benchmark("belebele-likelihood", "sw", (five, three), 2)]
    (scores,) = evaluate(Ranks(), asked, tmp_path).benchmarks  # type: ignore[arg-type]
    assert (scores.languages[0].correct, scores.languages[0].missing) == (2, 0)


def test_a_model_that_only_writes_is_not_asked_for_likelihoods(tmp_path: Path) -> None:
    class Writes:
        def generate(self, questions: Sequence[str]) -> list[str]:
            return ["B." for _ in questions]

    asked = [Benchmark("xcsqa-likelihood", "sw", (Question("1", "Say B", "B", LETTERS),), 1)]
    with pytest.raises(RecipeError, match="cannot compute how likely an answer is"):
        evaluate(Writes(), asked, tmp_path)


def test_words_stand_alone() -> None:
    labels = ("Entailment", "Neutral", "Contradiction")
    responder = LikelihoodResponder(Ranks(), labels)
    assert responder.generate(["It is Contradiction"]) == ["Contradiction"]
    assert responder.cuts(["It is Contradiction"]) == [False]
