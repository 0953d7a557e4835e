"""Reads the letter after a number that multiplies it: ``18k``, ``$1.5M``, ``3bn``."""

from __future__ import annotations

import re
from bisect import bisect_left
from decimal import Decimal
from functools import lru_cache

_CURRENCIES = "$€£¥₹₦₱₩฿₫₽₴₺"
# 18k, 18 k€, $1.5M, 3bn. A single M or B needs a currency sign or a decimal mark: 5 m is a length, 2B a pencil.
_LETTER_MAGNITUDE = re.compile(r"([kK]|M|mn|mln|[bB]n|tn|[mBbT])(?![\w^'’])|\s([kM])(?=[€$£])")
_EXPONENTS = {"k": 3, "m": 6, "mn": 6, "mln": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_VARIABLE_K = re.compile(r"(?<![\w'’])[kK](?!\w)")
_NAMES_WITH_K = (401,)  # a 401k is a pension
_CARAT = re.compile(r" ?-?(?:gold|carat|karat)", re.IGNORECASE)


def magnitude_letter(text: str, start: int, end: int, value: Decimal, *, whole: bool, language: str) -> tuple[int, int] | None:
    """The power of ten that the letter after a number means, and the end of the letter; None without such a letter.

    Args:
        text: the whole text.
        start: where the number begins.
        end: where it ends.
        value: its value.
        whole: whether it is written with digits only.
        language: code of the text's language. In Basque, ``-k`` is an ending.
    """
    found = _LETTER_MAGNITUDE.match(text, end)
    if found is None:
        return None
    letter = found.group(1) or found.group(2)
    money = any(sign in text[max(0, start - 2) : start] for sign in _CURRENCIES) or (
        text[found.end() : found.end() + 2].strip()[:1] in tuple(_CURRENCIES)
    )
    if letter in ("m", "b", "t", "T", "B", "M") and not money and (letter not in "MB" or (whole and letter == "B")):
        return None
    if letter in "kK":
        if not money and (language == "eu" or value in _NAMES_WITH_K or _has_variable_k(text, start, end)):
            return None
        if _CARAT.match(text, found.end()):
            return None
    return _EXPONENTS[letter.lower()], found.end()


def _has_variable_k(text: str, start: int, end: int) -> bool:
    """Whether k stands alone, as a variable, within 100 characters of a number."""
    places = _variable_ks(text)
    nearest = bisect_left(places, start - 100)
    return nearest < len(places) and places[nearest] < end + 100


@lru_cache(maxsize=2)
def _variable_ks(text: str) -> tuple[int, ...]:
    return tuple(match.start() for match in _VARIABLE_K.finditer(text))
