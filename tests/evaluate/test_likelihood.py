"""The likeliest label as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lilift.evaluate.benchmarks import Benchmark, Question
from lilift.evaluate.evaluator import evaluate
from lilift.evaluate.likelihood import LikelihoodResponder

LETTERS = ("A", "B", "C", "D", "E")


class Ranks:
    """Finds the letter likeliest that the question ends in."""

    def log_likelihoods(self, questions: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        return [[-1.0 if question.endswith(label) else -2.0 for label in labels] for question in questions]


def test_the_likeliest_label_is_the_answer_and_by_the_authors_scoring_too(tmp_path: Path) -> None:
    questions = (
        Question("1", "Say B", "B", LETTERS, ("u", "v", "w", "x", "y")),
        Question("2", "Say C", "A", LETTERS, ("u", "v", "w", "x", "y")),
    )
    responder = LikelihoodResponder(Ranks(), LETTERS)
    assert responder.generate(["Say B", "say nothing"]) == ["B.", "A."]
    score = evaluate(responder, [Benchmark("xcsqa", "sw", questions, 2)], tmp_path).benchmarks[0].languages[0]
    assert (score.correct, score.missing, score.published_correct) == (1, 0, 1)


def test_words_stand_alone() -> None:
    labels = ("Entailment", "Neutral", "Contradiction")
    responder = LikelihoodResponder(Ranks(), labels)
    assert responder.generate(["It is Contradiction"]) == ["Contradiction"]
    assert responder.cuts(["It is Contradiction"]) == [False]
