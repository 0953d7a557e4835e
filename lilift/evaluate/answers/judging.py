"""Judges a response: right or wrong, by lilift's own extraction and by the scoring of the paper's authors."""

from __future__ import annotations

from dataclasses import dataclass

from lilift.evaluate.answers.extraction import correct, extract_number
from lilift.evaluate.answers.labels import extract_label
from lilift.evaluate.answers.number_formats import plain_number
from lilift.evaluate.answers.published_scoring import published_label_correct, published_number_correct
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question, published_name


@dataclass(frozen=True)
class Judgement:
    """The judgement of one response.

    Attributes:
        extracted: the answer in the response, as it is stored; None if there is none.
        correct: whether this is the gold answer.
        published: whether the authors' scoring counts the response as right.
    """

    extracted: str | None
    correct: bool
    published: bool


def judge(question: Question, response: str, benchmark: Benchmark) -> Judgement:
    """Find the answer in a response without looking at the gold answer, then compare the two.

    Args:
        question: the question.
        response: the whole response, or the label that was chosen by likelihood.
        benchmark: its name decides how the authors score, and its language decides how numbers are written.
    """
    name = published_name(benchmark.name)
    if isinstance(question.gold, str):
        label = extract_label(response, question.labels, question.choices)
        return Judgement(label, label == question.gold, published_label_correct(response, question.gold))
    number = extract_number(response, benchmark.language)
    published = published_number_correct(response, float(question.gold), name, benchmark.language)
    return Judgement(None if number is None else plain_number(number), correct(number, question.gold), published)
