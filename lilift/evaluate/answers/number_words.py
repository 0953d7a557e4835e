"""Reads numbers that are written with words: ``2 million``, ``५ सय ४२``, ``3万5千``.

`number_words.tsv` lists words for hundred, thousand, … after a number (`magnitude`, with the power of ten) and before it
(`magnitude before`: Swahili ``elfu 3``), and words for 1 to 9 before a magnitude in languages whose translations mix words and
digits (`unit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

ANY_LANGUAGE = ("en", "ja", "ko", "zh")
"""Languages whose magnitude words are understood in every text; no other language has words that look the same."""

_SPACES = (" ", "\u00a0", "\u2009", "\u202f")
_INDIC = "\u0900-\u0dff"  # `re` does not count the vowel signs of these scripts as word characters
_WORD_END = rf"(?![\w{_INDIC}])"
_BENGALI_END = rf"(?:টি|টা)?{_WORD_END}"
_UNBOUNDED = ("ja", "ko", "th", "zh")  # scripts or particles without a space after the word
# 千克 kilogram, 百分之 per cent, 万一 in case; 만큼 as much as; ร้อยละ per cent
_NOT_FOLLOWED = {"千": "[克米瓦卡]", "百": "分", "万": "[一能]", "만": "큼", "ร้อย": "ละ"}


@cache
def _table() -> tuple[tuple[str, str, str, str], ...]:
    text = (resources.files("lilift.evaluate.answers") / "number_words.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple((language, kind, word, value) for language, kind, word, value in rows)


@cache
def magnitude_initials(language: str) -> frozenset[str]:
    """The first letters of the magnitude words that follow a number, small and capital."""
    letters = {word[:1] for word in _magnitudes(language)[1]}
    return frozenset(letters | {letter.upper() for letter in letters} | {letter.lower() for letter in letters})


@cache
def _magnitudes(language: str) -> tuple[re.Pattern[str], dict[str, int]]:
    words = {
        word: int(value) for owner, kind, word, value in _table() if kind == "magnitude" and owner in (*ANY_LANGUAGE, language)
    }
    owners = {word: owner for owner, kind, word, _ in _table() if kind == "magnitude" and owner in (*ANY_LANGUAGE, language)}
    parts = [re.escape(word) + _end_of(word, owners[word]) for word in sorted(words, key=len, reverse=True)]
    return re.compile(rf"[ \u00a0\u2009\u202f]?(?P<word>{'|'.join(parts)})", re.IGNORECASE), words


def _end_of(word: str, owner: str) -> str:
    if word in _NOT_FOLLOWED:
        return f"(?!{_NOT_FOLLOWED[word]})"
    if owner in _UNBOUNDED:
        return ""
    if owner == "en":  # "3 hundreds, 8 tens" describes digits and is not one number
        return rf"{_WORD_END}(?!-\w)" if word == "hundred" else rf"s?{_WORD_END}(?!-[a-z])"
    return _BENGALI_END if owner == "bn" else _WORD_END


def magnitude_at(text: str, position: int, language: str) -> tuple[int, int] | None:
    """The power of ten that the word right after `position` means, and the end of this word; None without such a word."""
    pattern, words = _magnitudes(language)
    place = position + (text[position : position + 1] in _SPACES)
    if text[place : place + 1] not in magnitude_initials(language):
        return None  # the usual case, found faster than with the pattern
    found = pattern.match(text, position)
    if found is None:
        return None
    written = found.group("word").lower()
    exponent = next(words[word] for word in sorted(words, key=len, reverse=True) if written.startswith(word.lower()))
    return exponent, found.end()


@cache
def _magnitudes_before(language: str) -> tuple[re.Pattern[str], dict[str, int]] | None:
    words = {word: int(value) for owner, kind, word, value in _table() if kind == "magnitude before" and owner == language}
    if not words:
        return None
    return re.compile(rf"(?<!\w)(?:(?:{'|'.join(sorted(words, key=len, reverse=True))}) )+$", re.IGNORECASE), words


def has_magnitudes_before(language: str) -> bool:
    """Whether a language puts the words for hundred, thousand, … before their number."""
    return _magnitudes_before(language) is not None


def magnitude_before(text: str, position: int, language: str) -> tuple[int, int] | None:
    """The power of ten that the words right before `position` mean, and the start of these words; None without such a word."""
    found = _magnitudes_before(language)
    if found is None:
        return None
    pattern, words = found
    match = pattern.search(text, max(0, position - 40), position)
    return None if match is None else (sum(words[word] for word in match.group().lower().split()), match.start())


@cache
def _units(language: str) -> tuple[re.Pattern[str], dict[str, int]] | None:
    units = {word: int(value) for owner, kind, word, value in _table() if kind == "unit" and owner == language}
    if not units:
        return None
    unit = "|".join(sorted(units, key=len, reverse=True))
    magnitude = "|".join(word for owner, kind, word, _ in _table() if kind == "magnitude" and owner == language)
    return re.compile(rf"(?<![\w{_INDIC}])(?:{unit})(?=(?: ?(?:{magnitude})(?: ?(?:{unit}))?)+ ?\d)"), units


def has_unit_words(language: str) -> bool:
    """Whether lilift knows words for 1 to 9 of a language."""
    return _units(language) is not None


def unit_words(text: str, language: str) -> Iterator[tuple[int, int, int]]:
    """Value, start and end of each word for 1 to 9 that begins a number which ends in digits: ``तीन सय 96``."""
    found = _units(language)
    if found:
        for match in found[0].finditer(text):
            yield found[1][match.group()], match.start(), match.end()
