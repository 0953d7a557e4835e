"""The list of MMWP's faulty rows, against the real files."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from lilift.evaluate.answers.plain_text import plain_text
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.mmwp_faults import find_differences, known_differences, list_differences, mmwp_is_sound
from lilift.recipe.schema import BenchmarkSettings

# Rows whose digits are those of the English question and yet stand for other numbers: "3 hundreds, 8 tens" is written as three
# hundred (bn kn ne th), and Luxembourgish groups 5.973 and 8,723 in two ways at once.
SAME_DIGITS_OTHER_NUMBERS = {("bn", 371), ("kn", 371), ("ne", 371), ("th", 371), ("lb", 418)}


@pytest.fixture(scope="module")
def questions(shared_data: Path) -> dict[str, list[str]]:
    folder = shared_data / "mmwp"
    codes = sorted(path.name.split(".")[0].removeprefix("test_") for path in folder.glob("test_*.json*"))
    settings = BenchmarkSettings(name="mmwp", path=str(folder))
    return {code: [question.text for question in load_benchmark(settings, code).questions] for code in codes}


def test_every_number_of_the_48_files_is_read_as_in_english_except_on_the_listed_rows(shared_data: Path) -> None:
    listed = (resources.files("lilift.evaluate.benchmarks") / "mmwp_faults.tsv").read_text(encoding="utf-8")
    assert list_differences(shared_data / "mmwp") == listed


def test_where_the_digits_are_those_of_the_english_question_so_are_the_numbers(questions: dict[str, list[str]]) -> None:
    def digits(text: str) -> Counter[str]:
        return Counter(re.findall(r"\d+", re.sub(r"(?<=\d)[^\w\n](?=\d{3}(?!\d))|(?<=\d)[.,٫](?=\d)", "", plain_text(text))))

    assert len(questions) == 48
    wrong = {
        (code, row)
        for (code, row), difference in known_differences().items()
        if difference.lost and digits(questions[code][row]) == digits(questions["en"][row].replace("6, 760", "6760"))
    }
    assert wrong == SAME_DIGITS_OTHER_NUMBERS


def test_known_faults_are_found() -> None:
    assert not mmwp_is_sound(10, "fr")
    assert not mmwp_is_sound(7, "fr")
    assert not mmwp_is_sound(139, "es")
    assert mmwp_is_sound(10, "sw")
    assert not any(mmwp_is_sound(row, "en") for row in (43, 82, 87, 758, 785, 130))
    assert mmwp_is_sound(17, "ne"), "a number that was words in English and is written in digits is no loss"


def test_lost_and_added_numbers_are_told_apart() -> None:
    english = ["I have 3 cats and 4 dogs.", "I have 5 cats.", "I have 6 cats."]
    german = ["Ich habe drei Katzen und 4 Hunde.", "Ich habe 5 Katzen und 2 Hunde.", "Ich habe 6 Katzen."]
    found = find_differences(english, german, "de")
    assert {row: (tuple(map(int, one.lost)), tuple(map(int, one.added))) for row, one in found.items()} == {
        0: ((3,), ()),
        1: ((), (2,)),
    }
