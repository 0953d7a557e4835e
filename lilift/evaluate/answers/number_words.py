"""Reads numbers that are written with words: ``2 million``, ``५ सय ४२``, ``3万5千``, ``三百八十七``.

`number_words.tsv` lists words for hundred, thousand, … after a number (`magnitude`, with the power of ten) and before it
(`magnitude before`: Swahili ``elfu 3``), and words for 1 to 9 before a magnitude in languages whose translations mix words and
digits (`unit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from importlib import resources

ANY_LANGUAGE = ("en", "ja", "ko", "zh")
"""Languages whose magnitude words are understood in every text; no other language has words that look the same."""

_INDIC = "\u0900-\u0dff"  # `re` does not count the vowel signs of these scripts as word characters
_WORD_END = rf"(?![\w{_INDIC}])"
_BENGALI_END = rf"(?:টি|টা)?{_WORD_END}"
_UNBOUNDED = ("ja", "ko", "th", "zh")  # scripts or particles without a space after the word
# 千克 kilogram, 百分之 per cent, 万一 in case; 만큼 as much as; ร้อยละ per cent
_NOT_FOLLOWED = {"千": "[克米瓦卡]", "百": "分", "万": "[一能]", "만": "큼", "ร้อย": "ละ"}

_TEN_DIGITS = ("零〇", "一壹", "二贰兩两", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
_DIGITS = {character: value for value, characters in enumerate(_TEN_DIGITS) for character in characters}
_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_CHARACTERS = "".join([*_DIGITS, *_SMALL, *_LARGE])
_ADVERBS = re.compile(rf"千万(?![{_CHARACTERS}元个人])|十分(?!之|の|钟|鐘|间|間)")
_CHINESE = re.compile(rf"(?<!\d)[{_CHARACTERS}]+(?:[点點][{''.join(_DIGITS)}]+)?")


@cache
def _table() -> tuple[tuple[str, str, str, str], ...]:
    text = (resources.files("lilift.evaluate.answers") / "number_words.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple((language, kind, word, value) for language, kind, word, value in rows)


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
        return _WORD_END if word == "hundred" else f"s?{_WORD_END}"
    return _BENGALI_END if owner == "bn" else _WORD_END


def magnitude_at(text: str, position: int, language: str) -> tuple[int, int] | None:
    """The power of ten that the word right after `position` means, and the end of this word; None without such a word."""
    pattern, words = _magnitudes(language)
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


def unit_words(text: str, language: str) -> Iterator[tuple[int, int, int]]:
    """Value, start and end of each word for 1 to 9 that begins a number which ends in digits: ``तीन सय 96``."""
    found = _units(language)
    if found:
        for match in found[0].finditer(text):
            yield found[1][match.group()], match.start(), match.end()


def chinese_numerals(text: str, language: str) -> Iterator[tuple[Decimal, int, int, bool]]:
    """Value, start and end of each number in Chinese characters, and whether it may be an ordinary word (一 is also "a").

    Only in Chinese and Japanese. Phrases that are not numbers are left out (三四个 three or four, 千万 by all means,
    十分 very).
    """
    if language not in ("zh", "ja"):
        return
    for match in _CHINESE.finditer(text):
        written = match.group()
        value = None if _ADVERBS.match(text, match.start()) else _chinese_value(written, shortened=language == "zh")
        if value is not None:
            yield value, match.start(), match.end(), len(written) == 1 or (language == "zh" and written[0] in "百千万亿")


def _chinese_value(written: str, *, shortened: bool) -> Decimal | None:
    whole, _, tail = written.replace("點", "点").partition("点")
    value = _positional(whole) if all(character in _DIGITS for character in whole) else _additive(whole, shortened)
    if value is None or not tail:
        return None if value is None else Decimal(value)
    return Decimal(f"{value}.{''.join(str(_DIGITS[character]) for character in tail)}")


def _positional(written: str) -> int | None:
    """The value of 二〇二四, read digit by digit; two digits side by side mean "three or four" and are not a number."""
    if len(written) == 2 or not written:
        return None
    return int("".join(str(_DIGITS[character]) for character in written))


def _additive(written: str, shortened: bool) -> int | None:
    """The value of 三百八十七, read by hundreds and tens.

    With `shortened`, a last digit right after 百, 千 or 万 counts tenths of it: 一百五 is 150.
    """
    total = section = digit = 0
    last_scale = 1
    for position, character in enumerate(written):
        if character in _DIGITS:
            if position and written[position - 1] in _DIGITS and written[position - 1] not in "零〇":
                return None
            digit = _DIGITS[character]
        elif character in _SMALL:
            section += (digit or (1 if not position or written[position - 1] not in _SMALL else 0)) * _SMALL[character]
            digit, last_scale = 0, _SMALL[character]
        else:
            section += digit
            if not section and not total:
                return None
            total = (total + section) * _LARGE[character] if _LARGE[character] > 10**4 else total + section * 10**4
            section, digit, last_scale = 0, 0, _LARGE[character]
    tenths = shortened and written[0] in _DIGITS and written[-1] in _DIGITS and written[-2] not in "零〇十拾"
    return total + section + (digit * last_scale // 10 if tenths else digit)
