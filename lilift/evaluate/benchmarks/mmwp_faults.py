"""Lists the known faults of MMWP's rows, so that lilift can score the sound rows separately.

`mmwp_faults.tsv` lists every translated row whose numbers differ from those of the English question: the numbers that it lost
(written as words, converted to other units, left out) and the numbers that it added. The command
`python -m lilift.evaluate.benchmarks.mmwp_faults FOLDER` prints this list for a folder with the authors' 48 files. A row that
lost a number is not sound in that language. Six rows are not sound in any language: five gold answers contradict ASDiv, the
source of the problems, and one question asks for yes or no.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path

from lilift.evaluate.answers.number_formats import find_numbers, plain_number
from lilift.evaluate.answers.plain_text import plain_text
from lilift.evaluate.benchmarks.benchmark_files import FileForm, read_json_list

WRONG_GOLD = frozenset({43, 82, 87, 758, 785})
"""Rows whose gold answer contradicts ASDiv."""
YES_OR_NO = frozenset({130})
"""Rows whose question asks for yes or no, while the gold is a number."""
_ENGLISH_MISPRINTS = {548: ("6, 760", "6,760")}  # what the English file has, and what it should have
_COLUMNS = "language\trow\tlost\tadded"


@dataclass(frozen=True)
class Difference:
    """The numbers of the English question that a translation lost, and those that it added; a number may be listed twice."""

    lost: tuple[Decimal, ...]
    added: tuple[Decimal, ...]


def mmwp_is_sound(row: int, language: str) -> bool:
    """Whether a row of MMWP, counted from 0, has no known fault in a language."""
    found = known_differences().get((language, row))
    return row not in WRONG_GOLD | YES_OR_NO and not (found and found.lost)


@cache
def known_differences() -> Mapping[tuple[str, int], Difference]:
    """The list that ships with lilift, by language and row."""
    text = (resources.files("lilift.evaluate.benchmarks") / "mmwp_faults.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {(language, int(row)): Difference(_numbers(lost), _numbers(added)) for language, row, lost, added in rows}


def find_differences(english: list[str], translated: list[str], language: str) -> dict[int, Difference]:
    """Find the rows whose numbers differ from those of the English questions.

    Args:
        english: MMWP's English questions.
        translated: the same rows in another language.
        language: the code of that language.
    """
    found = {}
    for row, (question, translation) in enumerate(zip(english, translated, strict=True)):
        if row in _ENGLISH_MISPRINTS:
            question = question.replace(*_ENGLISH_MISPRINTS[row])
        wanted, there = _counted(question, "en"), _counted(translation, language)
        if wanted != there:
            found[row] = Difference(tuple((wanted - there).elements()), tuple((there - wanted).elements()))
    return found


def as_table(differences: Mapping[str, Mapping[int, Difference]]) -> str:
    """The text of `mmwp_faults.tsv`."""
    lines = [
        f"{language}\t{row}\t{_written(found.lost)}\t{_written(found.added)}"
        for language, rows in sorted(differences.items())
        for row, found in sorted(rows.items())
    ]
    return "\n".join([_COLUMNS, *lines]) + "\n"


def _counted(text: str, language: str) -> Counter[Decimal]:
    numbers = find_numbers(plain_text(text), language)
    return Counter(round(number.value, 4) for number in numbers if not number.vague)


def _written(numbers: tuple[Decimal, ...]) -> str:
    return " ".join(plain_number(number) for number in sorted(numbers))


def _numbers(written: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(number) for number in written.split())


def list_differences(folder: Path) -> str:
    """The text of `mmwp_faults.tsv`, computed again from a folder with MMWP's files."""
    form = FileForm("test_{}.json", read_json_list)
    texts = {}
    for language in form.languages(folder):
        path = form.find(folder, language)
        assert path is not None
        texts[language] = [row.text for row in form.read(path, language)]
    english = texts.pop("en")
    return as_table({language: find_differences(english, translated, language) for language, translated in texts.items()})


if __name__ == "__main__":
    sys.stdout.write(list_differences(Path(sys.argv[1])))
