"""Decides whether the mark or word before a number is its minus sign, and not a subtraction, a range or a hyphen."""

from __future__ import annotations

import re
from typing import Literal

_CURRENCIES = "$€£¥₹₦₱₩฿₫₽₴₺"
_MINUS_WORDS = frozenset(
    (
        *("minus", "mínus", "miinus", "mínusz", "negative", "negatif", "negativ", "минус", "мінус", "ऋण", "ऋणात्मक", "माइनस"),
        *("ঋণাত্মক", "মাইনাস", "માઇનસ", "ઋણ", "மைனஸ்", "మైనస్", "ಮೈನಸ್", "മൈനസ്", "سالب", "ناقص", "منفی", "منفي"),
        *("マイナス", "마이너스", "영하", "ลบ", "ติดลบ", "အနုတ်", "âm", "eksi", "μείον", "מינוס", "մինուս"),
    )
)
# In languages with a decimal comma, "minus" may also mean "less" (au moins 5, 5 de menos), so it must follow "is" or "=".
# Swahili "hasi" is also Basque for "begin".
_LESS_WORDS = frozenset(("menos", "moins", "meno", "hasi"))
_BEFORE_LESS = ("es", "est", "è", "é", "ni", "=")
_IS_OF_LESS = re.compile(r"(?:^|[^\w])(?:es|est|era|était|è|é|era) d[ei] \w+$")
_MINUS_AT_ONCE = ("负", "負", "零下", "氷点下", "マイナス", "마이너스", "영하", "ติดลบ", "ลบ", "ຕິດລົບ", "ລົບ", "အနုတ်")
_BELOW_ZERO = ("ติดลบ", "ຕິດລົບ", "영하", "氷点下", "零下")  # also before a space, where ลบ and ລົບ mean "subtract"
_SIGN_ENDINGS = frozenset(
    "-–—― " + _CURRENCIES + "".join(word[-1] for word in _MINUS_AT_ONCE)
)  # the last characters of every minus sign
_LAST_PAIRS = frozenset(word[-2:] for word in (*_MINUS_WORDS, *_LESS_WORDS, *_MINUS_AT_ONCE))
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af々"  # Thai to Hangul
_HYPHEN_AFTER = re.compile(rf"(?:[\d)\]}}%°]|(?:(?![{_UNSPACED}])\w))$")
_SUBTRACTED_FROM = re.compile(rf"\d(?:[{_UNSPACED}]{{1,3}}|[年月日号號頁页])$")
_OPERAND_BEFORE = re.compile(r"[\d)%] ?$")
_QUANTITY_BEFORE = re.compile(r"\d ?(?!(?:to|is|was|be|are|by|of|at|bis|auf|ist|a|à|est|es|på|til|до|на|ni)\b)[^\W\d_]+ $")


def is_negative(text: str, start: int) -> bool:
    """Whether a number that begins at `start`, which is not 0, has a minus sign before it."""
    last = text[start - 1]
    if last not in _SIGN_ENDINGS:
        return False
    if last == " " and text[start - 2] not in "-–负負" and text[max(0, start - 3) : start - 1].lower() not in _LAST_PAIRS:
        return False
    kind, sign = _minus_before(text, start)
    if not kind:
        return False
    left = text[max(0, sign - 16) : sign]
    if kind == "close" and (_HYPHEN_AFTER.search(left) or _SUBTRACTED_FROM.search(left)):
        return False  # 10-3, 3–5, COVID-19, 10个-3个
    if kind != "defined" and _OPERAND_BEFORE.search(left):
        return False  # 10 -3, 10 minus 3
    return not (kind == "word" and _QUANTITY_BEFORE.search(left))  # 10 apples minus 3


def _minus_before(text: str, end: int) -> tuple[Literal["", "close", "defined", "word"], int]:
    """How a minus sign stands before a number, and its start; empty without a sign.

    "close" is a sign at the number, "defined" a sign after ``=``, ``(`` or "is", and "word" a word.
    """
    last = text[end - 1]
    if last == " ":
        if text[end - 2 : end - 1] in ("-", "–"):
            before = text[max(0, end - 5) : end - 2].removesuffix(" ").lower()
            return ("defined", end - 2) if before.endswith(("=", "(", "is")) else ("", end)
        words = text[max(0, end - 20) : end - 1].lower().rsplit(None, 2)
        word = words[-1].lstrip("(=:,;\"'") if words else ""
        if word in _MINUS_WORDS or (
            word in _LESS_WORDS
            and len(words) > 1
            and (words[-2] in _BEFORE_LESS or _IS_OF_LESS.search(text[max(0, end - 20) : end - 1].lower()))
        ):
            return "word", end - 1 - len(word)
        if word.endswith(_BELOW_ZERO):
            return "word", end - 1 - max(len(sign) for sign in _BELOW_ZERO if word.endswith(sign))
        return "", end
    if last in "—―":
        return ("defined", end - 1) if text[max(0, end - 4) : end - 1].rstrip(" ")[-1:] in ("", "=", "(", ":") else ("", end)
    start = end - 1 - (last in _CURRENCIES)
    if start >= 0 and text[start] in "-–":
        return "close", start - (text[start - 1 : start] in tuple(_CURRENCIES) and start > 0)
    if text[max(0, end - 4) : end].endswith(_MINUS_AT_ONCE):
        return "word", next(end - len(word) for word in _MINUS_AT_ONCE if text.endswith(word, 0, end))
    return "", end
