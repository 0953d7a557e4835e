"""Right answers of one's own: how numbers, labels and choices may be written, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from lilift.evaluate.benchmarks.custom.gold_answers import AnswerCell, Answers, read_answers
from lilift.recipe.errors import DataError


def read(golds: Sequence[Any], language: str = "en", choices: Sequence[Sequence[Any]] | None = None) -> Answers:
    given = choices or [()] * len(golds)
    return read_answers(
        [
            AnswerCell(f"my.csv: row {place}", language, gold, tuple(some))
            for place, (gold, some) in enumerate(zip(golds, given, strict=True), start=2)
        ]
    )


@pytest.mark.parametrize(
    ("written", "language", "gold"),
    [
        ("18", "sw", "18"),
        ("1,050", "sw", "1050"),
        ("1.050", "de", "1050"),
        ("1.050", "sw", "1.05"),
        ("3/4", "yo", "0.75"),
        ("1 1/2", "en", "1.5"),
        ("18 apples", "en", "18"),
        ("peremende 4", "sw", "4"),
        ("৪৫", "bn", "45"),
        ("-5", "en", "-5"),
        ("25%", "en", "25"),
        ("She has 3 + 15 = <<3+15=18>>18 eggs.\n#### 18", "en", "18"),
        ("3 and 4 make 7. The answer is: 7", "en", "7"),
        ("2 und 3, also \\boxed{5}", "de", "5"),
        (2.125, "de", "2.125"),  # a number of a Parquet file
    ],
)
def test_a_gold_number_is_read_by_the_rules_of_its_language(written: object, language: str, gold: str) -> None:
    found = read([written], language)
    assert (found.kind, found.golds) == ("numbers", (Decimal(gold),))


def test_a_json_number_has_a_point_before_its_decimals_in_every_language() -> None:
    cells = [AnswerCell("", "de", "2.125", (), bare) for bare in (frozenset(["2.125"]), frozenset[str]())]
    assert read_answers(cells).golds == (Decimal("2.125"), 2125)


@pytest.mark.parametrize(
    ("golds", "message"),
    [
        (["3", ""], "row 3: the right answer is missing; add it, or remove the row"),
        (["3", None], "row 3: the right answer is missing"),
        (["3", "4", "5 or 6"], "row 4: the right answer '5 or 6' is not one number; write the number alone"),
        (["3", "many"], "row 3: the right answer 'many' is not one number"),
        (["Nairobi", "Dodoma", "Kampala"], "row 2: lilift cannot score .* neither numbers nor a few labels"),
        (["yes", "yes", "yes"], "row 2: lilift cannot score"),  # one label tells nothing about a model
        ([{"a": 1}], "row 2: lilift cannot read this row: the right answer is not text"),
    ],
)
def test_an_answer_that_cannot_be_read_is_named(golds: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(golds)


def test_words_that_repeat_are_labels() -> None:
    found = read(["Yes", "no", "yes.", "No"])
    assert (found.kind, found.labels, found.golds) == ("labels", ("no", "Yes"), ("Yes", "no", "Yes", "no"))
    letters = read(["a", "C", "A", "c"])
    assert (letters.labels, letters.golds) == (("A", "B", "C"), ("A", "C", "A", "C"))
    assert letters.choices[0] == ("choice A", "choice B", "choice C")


CHOICES = [(["one", "two", "three"],), (["x", "y", "z"],)]


@pytest.mark.parametrize(
    ("golds", "how"),
    [
        (["B", "c"], "letter"),
        (["(B)", "C."], "letter"),
        (["B) two", "C. z"], "letter"),
        (["two", "Z"], "text"),
        (["2", "3"], "counted from 1"),
    ],
)
def test_the_right_choice_is_a_letter_a_text_or_a_number(golds: list[str], how: str) -> None:
    found = read(golds, choices=CHOICES)
    assert (found.kind, found.golds, found.choices[1]) == ("choices", ("B", "C"), ("x", "y", "z"))
    assert how in found.description


def test_numbers_of_choices_may_begin_at_0() -> None:
    assert read(["0", "2"], choices=CHOICES).golds == ("A", "C")


@pytest.mark.parametrize(
    ("golds", "choices", "message"),
    [
        (["B", "D"], CHOICES, "row 3: the right answer 'D' is none of the row's 3 choices; write a letter from A to C"),
        (["two", "w"], CHOICES, "row 3: the right answer 'w' is none"),
        (["1", "2"], CHOICES, "row 2: the right answer '1' can be read in two ways: .*from 0.*from 1"),
        (["1", "2"], [(["3", "1", "2"],), (["2", "1", "3"],)], "can be read in two ways: given as the choice's text"),
        (["A", "A"], [(["one", "two"],), ([],)], "row 3: the row has 0 choices"),
    ],
)
def test_a_choice_that_is_not_clear_is_refused(golds: list[str], choices: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(golds, choices=choices)
