"""The authors' scoring, with its faults, and where lilift's differs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lilift.evaluate.answers.judging import judge
from lilift.evaluate.answers.published_scoring import published_label_correct, published_number
from lilift.evaluate.benchmarks.benchmark import Benchmark, Question


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("3,5", 35.0),
        ("1.050", 1.05),
        ("1,050", 1050.0),
        ("80 000", 0.0),
        ("-5", 5.0),
        ("3/4", 4.0),
        ("３．５", 5.0),
        ("", 0.0),
        ("no idea", 0.0),
        ("1,2,3", 3.0),
        ("১২", 12.0),
        ("১,০৫০", 1050.0),
        ("0.7", 0.7),
        ("٠٫٧", 7.0),
        ("三百", 0.0),
        ("5 kg of 7", 7.0),
        ("18[END]20", 18.0),
        ("18</s>20", 18.0),
        ("18 <|im_end|> 20", 18.0),
        ("The answer is 18. Then 20", 20.0),
    ],
)
def test_numbers_are_read_as_the_authors_read_them(response: str, number: float) -> None:
    assert published_number(response, "mmwp", "de") == number


def test_a_response_ends_where_the_next_question_begins_with_swedish_and_swahili_swapped_in_mmwp() -> None:
    assert published_number("18 Swali: 20", "mgsm", "sw") == 18.0
    assert published_number("18 Swali: 20", "mmwp", "sw") == 20.0
    assert published_number("18 Swali: 20", "mmwp", "sv") == 18.0
    assert published_number("18 Question: 20", "mgsm", "sw") == 20.0


@pytest.mark.parametrize(
    ("response", "gold", "language", "correct", "published"),
    [
        ("I do not know", "0", "en", False, True),
        ("-5", "5", "en", False, True),
        ("-5", "-5", "en", True, False),
        ("3,5", "3.5", "de", True, False),
        ("3,5", "35", "de", False, True),
        ("1.050", "1050", "de", True, False),
        ("The answer is 18. I checked 3 times", "18", "en", True, False),
        ("18", "18", "en", True, True),
        ("18.0009", "18", "en", True, True),
        ("18.001", "18", "en", False, False),
        ("17", "18", "en", False, False),
    ],
)
def test_both_judgements_stand_side_by_side(response: str, gold: str, language: str, correct: bool, published: bool) -> None:
    found = judge(Question("1", "?", Decimal(gold)), response, Benchmark("mmwp", language, (), 0))
    assert (found.correct, found.published) == (correct, published)


def test_a_sample_is_scored_like_its_benchmark() -> None:
    question = Question("1", "?", Decimal(18))
    assert judge(question, "18 Swali: 20", Benchmark("mgsm-sample", "sw", (), 0)).published


@pytest.mark.parametrize(
    ("response", "gold", "right"),
    [
        ("Entailment", "Entailment", True),
        ("Not Entailment but Contradiction", "Entailment", True),
        ("entailment", "Entailment", False),
        ("Neutral</s>Entailment", "Entailment", False),
        ("B. bread", "B", True),
        ("(B) bread", "B", False),
        ("a. and then B.", "B", False),
        ("\nB.", "B", False),
        ("Choice B.", "B", True),
        ("", "B", False),
    ],
)
def test_labels_are_scored_as_the_authors_score_them(response: str, gold: str, right: bool) -> None:
    assert published_label_correct(response, gold) is right
