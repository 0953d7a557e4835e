"""Whether a response is right: by lilift's reading of it, and beside it by the authors' scoring."""

from __future__ import annotations

from dataclasses import dataclass

from lilift.evaluate.answers.extraction import correct, extract_number
from lilift.evaluate.answers.labels import extract_label
from lilift.evaluate.answers.number_formats import plain_number
from lilift.evaluate.answers.published_scoring import published_label_correct, published_number_correct
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question, published_name


@dataclass(frozen=True)
class Judgement:
    """What a response comes to.

    Attributes:
        extracted: the answer found in it, as it is kept; None where there is none.
        correct: whether that is the gold answer.
        published: whether the authors' scoring counts the response as right.
    """

    extracted: str | None
    correct: bool
    published: bool


def judge(question: Question, response: str, benchmark: Benchmark) -> Judgement:
    """Find the answer in a response, without a look at the gold answer, and compare.

    Args:
        question: what was asked.
        response: the whole response, or the label chosen by likelihood.
        benchmark: whose name settles how the authors score, and whose language how numbers are written.
    """
    name = published_name(benchmark.name)
    if isinstance(question.gold, str):
        label = extract_label(response, question.labels, question.choices)
        return Judgement(label, label == question.gold, published_label_correct(response, question.gold, name))
    number = extract_number(response, benchmark.language)
    published = published_number_correct(response, float(question.gold), name, benchmark.language)
    return Judgement(None if number is None else plain_number(number), correct(number, question.gold), published)
