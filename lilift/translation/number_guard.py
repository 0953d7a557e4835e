"""Checks that every number of a text stands in its translation, each read by the custom of its own language.

``1,234`` in English is ``1.234`` in Spanish, and ``১,২৩৪`` in Bengali. A translator that copies ``1.234`` from Spanish to
English changes the number. English words from zero to ninety-nine, fractions and ``a`` count as numbers of a translation,
because translators write ``three`` for ``3``. The guard does not look for numbers that a translator adds.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

from lilift.evaluate.answers.mathematics import IRRATIONAL
from lilift.evaluate.answers.number_composition import Number
from lilift.evaluate.answers.number_formats import find_numbers
from lilift.evaluate.answers.plain_text import plain_text

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
    *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {word: 10 * place for place, word in enumerate(_TENS, start=2)}
_ENGLISH_NUMBER = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[- ](?P<unit>{'|'.join(_UNITS[1:10])}))?|(?P<small>{'|'.join(_UNITS)}))\b",
    re.IGNORECASE,
)
# The Japanese for "per day" has a 1, and English has none.
_OTHER_WORDS: dict[str, int | Decimal] = {
    **dict.fromkeys(("a", "an", "each", "every", "per", "once", "first", "single"), 1),
    **{"twice": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "dozen": 12, "half": Decimal("0.5")},
}
_OTHER_WORD = re.compile(rf"\b(?:{'|'.join(_OTHER_WORDS)})\b", re.IGNORECASE)
_PARTS = ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")  # of 2, 3, 4, …
_FRACTION = re.compile(rf"\b(?P<top>an?|{'|'.join(_UNITS[1:10])})[- ](?P<bottom>{'|'.join(_PARTS)}|fourth)s?\b", re.IGNORECASE)


def lost_numbers(source: str, source_language: str, translation: str, target_language: str) -> list[Decimal]:
    """The numbers of a text that its translation lacks; empty if it has all of them, each as often as the text.

    A number that is put together from several (``7 dollars and 50 cents``, ``5 million``) also counts as kept if the
    translation has its parts.

    Args:
        source: the text.
        source_language: lilift's code of its language.
        translation: the translated text.
        target_language: lilift's code of its language.
    """
    wanted = _numbers(source, source_language)
    if not wanted:
        return []
    there: Counter[Decimal] = Counter()
    for value, parts in _numbers(translation, target_language):
        there.update([value, *parts])
    if target_language == "en":
        there.update(_english_words(translation))
    lost = []
    for value, parts in wanted:
        found = next((some for some in ([value], parts) if some and not Counter(some) - there), None)
        if found is None:
            lost.append(value)
        else:
            there -= Counter(found)
    return lost


def _numbers(text: str, language: str) -> list[tuple[Decimal, list[Decimal]]]:
    """The numbers of a text without their signs, and the parts of those that are put together from several."""
    plain = plain_text(text)
    found = [number for number in find_numbers(plain, language) if not number.vague and number.value != IRRATIONAL]
    return [(abs(number.value), _parts(plain, number, language)) for number in found]


def _parts(text: str, number: Number, language: str) -> list[Decimal]:
    written = text[number.start : number.end]
    digits = re.split(r"[^\d.,٫٬'’]+", written)
    runs = [run for part in digits if (run := part.strip(".,'’"))]
    if len(runs) < 2 and not any(letter.isalpha() for letter in written):
        return []
    return [abs(one.value) for run in runs for one in find_numbers(run, language)]


def _english_words(text: str) -> list[Decimal]:
    values = []
    for match in _ENGLISH_NUMBER.finditer(text):
        if match["small"]:
            values.append(Decimal(_WORDS[match["small"].lower()]))
        else:
            values.append(Decimal(_WORDS[match["tens"].lower()] + (_WORDS[match["unit"].lower()] if match["unit"] else 0)))
    values += [Decimal(_OTHER_WORDS[match.group().lower()]) for match in _OTHER_WORD.finditer(text)]
    for match in _FRACTION.finditer(text):
        bottom = match["bottom"].lower()
        values.append(Decimal(_WORDS.get(match["top"].lower(), 1)) / (4 if bottom == "fourth" else _PARTS.index(bottom) + 2))
    return values
