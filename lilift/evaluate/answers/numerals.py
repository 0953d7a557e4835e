"""Reads Chinese numerals, also the formal ones of contracts, and Ethiopic numerals.

387 is ``三百八十七`` or, formally, ``叁佰捌拾柒``, and ``፫፻፹፯`` in Ethiopic numerals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

_SHORTENED = ("zh", "yue")
"""Languages where a last digit right after 百, 千 or 万 counts tenths of it: 一百五 is 150."""
_CHINESE_LANGUAGES = (*_SHORTENED, "ja")

_TEN_DIGITS = ("零〇", "一壹壱", "二贰貳弐两兩", "三叁叄參参", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖")
_DIGITS = {character: value for value, characters in enumerate(_TEN_DIGITS) for character in characters}
_SMALL = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_TENS = {"廿": "二十", "卅": "三十"}
_CHARACTERS = "".join([*_DIGITS, *_SMALL, *_LARGE, *_TENS])
_ADVERBS = re.compile(rf"千万(?![{_CHARACTERS}元个人])|十分(?!之|の|钟|鐘|间|間)")
# Alone, these are nearly always ordinary words (大陆 mainland, 参加 take part, 收拾 put in order), unless money follows.
_WORDS = re.compile(r"[參参陸陆伍肆拾佰仟](?! ?[元圆圓円])")
_CHINESE = re.compile(rf"(?<!\d)[{_CHARACTERS}]+(?:[点點][{''.join(_DIGITS)}]+)?")

_ETHIOPIC_UNITS = "፩፪፫፬፭፮፯፰፱"
_ETHIOPIC_TENS = "፲፳፴፵፶፷፸፹፺"
_ETHIOPIC_HUNDRED, _ETHIOPIC_MYRIAD = "፻", "፼"
_ETHIOPIC_DIGITS = {
    **{character: value for value, character in enumerate(_ETHIOPIC_UNITS, start=1)},
    **{character: value * 10 for value, character in enumerate(_ETHIOPIC_TENS, start=1)},
}
_ETHIOPIC = re.compile(r"[\u1369-\u137c]+")
_BELOW_HUNDRED = f"[{_ETHIOPIC_TENS}]?[{_ETHIOPIC_UNITS}]?"
_BELOW_MYRIAD = f"(?:{_BELOW_HUNDRED}{_ETHIOPIC_HUNDRED})?{_BELOW_HUNDRED}"
_ETHIOPIC_NUMBER = re.compile(f"{_BELOW_MYRIAD}(?:{_ETHIOPIC_MYRIAD}{_BELOW_MYRIAD})*")
_LONGEST = 60  # signs of one number; longer rows of them are no answers, and Python reads 4,300 digits at most


def may_have_numerals(text: str, language: str) -> bool:
    """Whether a text may have numerals that `numerals` finds; a quick test."""
    return language in _CHINESE_LANGUAGES or _ETHIOPIC.search(text) is not None


def numerals(text: str, language: str) -> Iterator[tuple[Decimal, int, int, bool]]:
    """Value, start and end of each number in Chinese or Ethiopic numerals, and whether it may be an ordinary word.

    lilift reads Ethiopic numerals in every language, and Chinese numerals in Chinese, Cantonese and Japanese. It leaves out
    phrases that are not numbers (三四个 three or four, 千万 by all means, 十分 very).
    """
    if text.isascii():
        return
    for match in _ETHIOPIC.finditer(text):
        if len(match.group()) <= _LONGEST and _ETHIOPIC_NUMBER.fullmatch(match.group()):
            yield Decimal(_ethiopic_value(match.group())), match.start(), match.end(), False
    if language not in _CHINESE_LANGUAGES:
        return
    shortened = language in _SHORTENED
    for match in _CHINESE.finditer(text):
        written = match.group()
        if len(written) > _LONGEST:
            continue
        if _ADVERBS.match(text, match.start()) or (len(written) == 1 and _WORDS.match(text, match.start())):
            continue
        value = _chinese_value(written, shortened=shortened)
        if value is not None:
            # 一 is also "a", and 百货 is a department store.
            yield value, match.start(), match.end(), len(written) == 1 or (shortened and written[0] in "百千万亿")


def _ethiopic_value(written: str) -> int:
    """The value of ፩፻፳፫, 123: ፻ counts hundreds, and ፼ counts ten thousands of all that stands before it."""
    total = section = below = 0
    for character in written:
        if character == _ETHIOPIC_HUNDRED:
            section, below = (below or 1) * 100, 0
        elif character == _ETHIOPIC_MYRIAD:
            total = (total + section + below or 1) * 10**4
            section = below = 0
        else:
            below += _ETHIOPIC_DIGITS[character]
    return total + section + below


def _chinese_value(written: str, *, shortened: bool) -> Decimal | None:
    for short, full in _TENS.items():
        written = written.replace(short, full)
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
