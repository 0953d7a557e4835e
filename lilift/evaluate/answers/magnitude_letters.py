"""Reads the letter after a number that multiplies it: ``18k``, ``$1.5M``, ``3bn``."""

from __future__ import annotations

import re
from bisect import bisect_left
from decimal import Decimal
from functools import lru_cache

_CURRENCIES = "$€£¥₹₦₱₩฿₫₽₴₺"
# 18k, 18 k€, $1.5M, 3bn. A single m needs a currency sign, and B a sign, a decimal mark or what is counted: 5 m is a length,
# 2B a pencil or a room, but 2B users are many.
_LETTER_MAGNITUDE = re.compile(r"([kK]|M|mn|mln|[bB]n|tn|[mBbT])(?![\w^'’])|\s([kM])(?=[€$£])")
_EXPONENTS = {"k": 3, "m": 6, "mn": 6, "mln": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_COUNTED_IN_BILLIONS = re.compile(
    r" (?:(?:more|active|monthly|daily|new|US|light) )?(?:dollars?|euros?|pounds?|rupees|yen|people|users|customers|"
    r"subscribers|inhabitants|views|visits|downloads|years|parameters|tokens|tons|tonnes|transactions|devices|barrels)\b"
)
_NUMBERED = re.compile(
    r"(?:class|room|grade|group|team|section|level|gate|seat|flat|house|bus|line|type|part|step) $", re.IGNORECASE
)
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
    counted = (
        letter == "B"
        and _COUNTED_IN_BILLIONS.match(text, found.end())
        and not _NUMBERED.search(text, max(0, start - 10), start)
    )
    if (
        letter in ("m", "b", "t", "T", "B", "M")
        and not money
        and not counted
        and (letter not in "MB" or (whole and letter == "B"))
    ):
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
