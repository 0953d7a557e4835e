"""Known faults of MMWP's rows, so that scores can be given on the sound ones beside all.

`mmwp_faults.tsv` lists every row of a translation whose numbers are not those of the English question: what was lost (spelled
out, converted to other units, left out) and what was added. `python -m lilift.evaluate.benchmarks.mmwp_faults FOLDER` prints
it for a folder with the authors' 48 files. A row that lost a number is not sound in that language. Six rows are not sound in
any: five gold answers contradict ASDiv, where the problems come from, and one question is answered by yes or no.
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
_ENGLISH_MISPRINTS = {548: ("6, 760", "6,760")}  # as printed in the English file, and what it means
_COLUMNS = "language\trow\tlost\tadded"


@dataclass(frozen=True)
class Difference:
    """Numbers of the English question that a translation lost, and numbers that it added, each as often as it is there."""

    lost: tuple[Decimal, ...]
    added: tuple[Decimal, ...]


def mmwp_is_sound(row: int, language: str) -> bool:
    """Whether a row of MMWP, counted from 0, has no known fault in a language."""
    found = known_differences().get((language, row))
    return row not in WRONG_GOLD | YES_OR_NO and not (found and found.lost)


@cache
def known_differences() -> Mapping[tuple[str, int], Difference]:
    """The shipped list, by language and row."""
    text = (resources.files("lilift.evaluate.benchmarks") / "mmwp_faults.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {(language, int(row)): Difference(_numbers(lost), _numbers(added)) for language, row, lost, added in rows}


def find_differences(english: list[str], translated: list[str], language: str) -> dict[int, Difference]:
    """The rows whose numbers differ from those of the English questions, by row.

    Args:
        english: MMWP's English questions.
        translated: the same rows in another language.
        language: its code.
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
    """The text of `mmwp_faults.tsv`, worked out anew from a folder with MMWP's files."""
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
