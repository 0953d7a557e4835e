"""Reads the right answers of your benchmark: numbers in every usual spelling, a few labels, or choices."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from lilift.data.composed_text import composed
from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.data.texts.columns import clean_response
from lilift.evaluate.answers.extraction import extract_number
from lilift.evaluate.answers.number_formats import find_numbers
from lilift.evaluate.answers.plain_text import plain_text
from lilift.evaluate.answers.responses.answer_phrases import answer_words
from lilift.evaluate.benchmarks.custom.choice_lists import choices_of_cells
from lilift.recipe.errors import DataError

LETTERS = string.ascii_uppercase
MOST_LABELS = 50
"""More different answers than this are no labels, but free text, which lilift cannot score."""
_SHOWN = 40
_LETTER = re.compile(r"\(?(?P<letter>[A-Za-z])(?:[.):]+(?:\s+(?P<text>.+))?)?", re.DOTALL)
_THREE_DECIMALS = re.compile(r"-?\d{1,3}\.\d{3}")


@dataclass(frozen=True)
class AnswerCell:
    """What `read_answers` needs of a row.

    Attributes:
        where: file and row, for errors.
        language: code.
        cell: the right answer as the file has it.
        choices: cells of the columns with choices; empty without choices.
        bare: numbers that the file spells without quotes; see `bare_decimals`.
    """

    where: str
    language: str
    cell: Any
    choices: tuple[Any, ...] = ()
    bare: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answers:
    """The right answers of all rows.

    Attributes:
        kind: numbers, labels, or choices whose labels are letters.
        golds: the right answer of each row: a number, or one of the row's labels.
        labels: the labels of every row; empty for numbers and choices.
        labels_of: code → labels, if each language has labels of its own (yes/no, ndiyo/hapana); empty otherwise.
        choices: the choices of each row; empty tuples without choices.
        description: the kind in words, for the user.
    """

    kind: Literal["numbers", "labels", "choices"]
    golds: tuple[Decimal | str, ...]
    labels: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    description: str
    labels_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_answers(rows: Sequence[AnswerCell]) -> Answers:
    """Read the right answers of all rows, of every language.

    Raises:
        DataError: an answer is missing or cannot be read, is none of its row's choices, or the answers are free text.
    """
    texts = [_text(row) for row in rows]
    if any(row.choices for row in rows):
        return _choices(rows, texts)
    numbers = [gold_number(row, text) for row, text in zip(rows, texts, strict=True)]
    unread = [place for place, number in enumerate(numbers) if number is None]
    if not unread:
        return Answers("numbers", tuple(n for n in numbers if n is not None), (), ((),) * len(rows), "numbers")
    if 2 * len(unread) > len(rows):
        labels_of = _labels_by_language(rows, texts)
        if labels_of:
            return _as_labels_by_language(rows, texts, labels_of)
        labels = _labels(rows, texts)
        if labels:
            return _as_labels(rows, texts, labels)
    first = unread[0]
    if 2 * len(unread) <= len(rows):
        raise DataError(
            f"the right answer {_short(texts[first])} is not one number",
            where=rows[first].where,
            remedy="write the number alone, such as 18, or end the solution with a line `#### 18`",
        )
    raise DataError(
        f"lilift cannot score the right answer {_short(texts[first])}: the answers of this file are neither numbers nor a few "
        "labels that repeat",
        where=rows[first].where,
        remedy="add a column `choices`, or write answers as numbers or labels such as yes and no",
    )


def gold_number(row: AnswerCell, text: str) -> Decimal | None:
    """The number that a right answer means, by the rules of the row's language; None if it is not one number.

    A number, also with a unit, is taken as it is. A text with several numbers must name its answer, as in ``#### 18``,
    ``\\boxed{18}`` or "The answer is 18".
    """
    if isinstance(row.cell, (int, float, Decimal)) and not isinstance(row.cell, bool):
        return Decimal(str(row.cell))
    if text in row.bare and _THREE_DECIMALS.fullmatch(text):
        return Decimal(text)
    final = clean_response(text)[1] or text
    count = len(find_numbers(plain_text(final), row.language))
    names_answer = r"\boxed" in final or "####" in final or any(word.casefold() in final.casefold() for word in answer_words())
    if count == 1 or (count > 1 and names_answer):
        return extract_number(final, row.language)
    return None


def _text(row: AnswerCell) -> str:
    try:
        text = composed(text_of(row.cell, "the right answer").strip())
    except UnusableRowError as error:
        raise DataError(f"lilift cannot read this row: {error}", where=row.where, remedy="write one answer as text") from None
    if not text:
        raise DataError("the right answer is missing", where=row.where, remedy="add it, or remove the row")
    return text


def _labels(rows: Sequence[AnswerCell], texts: Sequence[str]) -> tuple[str, ...]:
    """The different answers in the order of the alphabet; empty if they do not repeat, so that they are no labels."""
    spelled: dict[str, str] = {}
    for text in texts:
        spelled.setdefault(_folded(text), " ".join(text.split()))
    rows_of_language = max(Counter(row.language for row in rows).values())
    if not 2 <= len(spelled) <= MOST_LABELS or 2 * len(spelled) > rows_of_language:
        return ()
    letters = sorted(label.upper() for label in spelled.values())
    if all(len(letter) == 1 and letter in LETTERS for letter in letters):
        return tuple(LETTERS[: LETTERS.index(letters[-1]) + 1])
    return tuple(sorted(spelled.values(), key=str.casefold))


def _labels_by_language(rows: Sequence[AnswerCell], texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The labels of each language, if every language has as many of its own; empty if one set of labels serves all."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.language, []).append(place)
    found = {
        language: _labels([rows[place] for place in own], [texts[place] for place in own]) for language, own in places.items()
    }
    sets = [{_folded(label) for label in labels} for labels in found.values()]
    different = len({len(one) for one in sets}) == 1 and len(set.union(*sets)) > len(sets[0])
    letters = all(len(label) == 1 for labels in found.values() for label in labels)
    return found if different and not letters and all(found.values()) else {}


def _as_labels_by_language(
    rows: Sequence[AnswerCell], texts: Sequence[str], labels_of: Mapping[str, tuple[str, ...]]
) -> Answers:
    by_name = {(language, _folded(label)): label for language, labels in labels_of.items() for label in labels}
    golds = tuple(by_name[row.language, _folded(text)] for row, text in zip(rows, texts, strict=True))
    described = "; ".join(f"{language}: {', '.join(labels)}" for language, labels in labels_of.items())
    return Answers("labels", golds, (), ((),) * len(rows), f"labels of each language: {described}", labels_of)


def _as_labels(rows: Sequence[AnswerCell], texts: Sequence[str], labels: tuple[str, ...]) -> Answers:
    by_name = {_folded(label): label for label in labels}
    golds = tuple(by_name[_folded(text)] for text in texts)
    # The choices of letters stand in the question itself. Their names here keep the article "a" from being read as A.
    letters = labels == tuple(LETTERS[: len(labels)])
    named = tuple(f"choice {label}" for label in labels) if letters else ()
    return Answers("labels", golds, labels, (named,) * len(rows), f"labels: {', '.join(labels)}")


def _choices(rows: Sequence[AnswerCell], texts: Sequence[str]) -> Answers:
    choices = [choices_of_cells(row.choices, row.where) for row in rows]
    pairs = list(zip(texts, choices, strict=True))
    readings: list[tuple[str, Callable[[str, Sequence[str]], int | None]]] = [
        ("given as the choice's text", _by_text),
        ("given as a letter", _by_letter),
        ("given as a number, counted from 0", _by_number(0)),
        ("given as a number, counted from 1", _by_number(1)),
    ]
    read = [(how, [of(text, some) for text, some in pairs]) for how, of in readings]
    whole = [(how, places) for how, places in read if None not in places]
    if not whole:
        # The reading that fits most rows shows which row is wrong.
        _, places = max(read, key=lambda one: sum(place is not None for place in one[1]))
        row = places.index(None)
        raise DataError(
            f"the right answer {_short(texts[row])} is none of the row's {len(choices[row])} choices",
            where=rows[row].where,
            remedy=f"write a letter from A to {LETTERS[len(choices[row]) - 1]}, or the text of the choice",
        )
    how, found = whole[0]
    other = next((one for one in whole[1:] if one[1] != found), None)
    if other is not None:
        raise DataError(
            f"the right answer {_short(texts[0])} can be read in two ways: {how}, or {other[0]}",
            where=rows[0].where,
            remedy="write letters: A, B, C …",
        )
    counts = sorted({len(some) for some in choices})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    golds = tuple(LETTERS[place] for place in found if place is not None)
    return Answers("choices", golds, (), tuple(choices), f"{number} choices, the right one {how}")


def _by_text(text: str, choices: Sequence[str]) -> int | None:
    same = [place for place, choice in enumerate(choices) if _folded(choice) == _folded(text)]
    return same[0] if len(same) == 1 else None


def _by_letter(text: str, choices: Sequence[str]) -> int | None:
    match = _LETTER.fullmatch(text)
    place = LETTERS.index(match["letter"].upper()) if match else len(choices)
    fits = match is not None and place < len(choices) and _folded(match["text"] or choices[place]) == _folded(choices[place])
    return place if fits else None


def _by_number(first: int) -> Callable[[str, Sequence[str]], int | None]:
    def read(text: str, choices: Sequence[str]) -> int | None:
        number = re.fullmatch(r"(\d{1,2})(?:\.0)?", text)
        place = int(number[1]) - first if number else -1
        return place if 0 <= place < len(choices) else None

    return read


def _folded(text: str) -> str:
    return " ".join(composed(text).split()).casefold().rstrip(".")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
