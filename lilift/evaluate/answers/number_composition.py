"""Puts numbers together from their parts: powers, fractions, mixed numbers, magnitudes and minus signs."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from lilift.evaluate.answers.magnitude_letters import magnitude_letter
from lilift.evaluate.answers.mathematics import IRRATIONAL, ReadNumber, as_decimal, exponent_at, factorial_at, power_of
from lilift.evaluate.answers.minus_signs import is_negative
from lilift.evaluate.answers.number_words import has_magnitudes_before, magnitude_at, magnitude_before, magnitude_initials
from lilift.evaluate.answers.plain_text import FACTORIAL

_FIXED_SPACES = "\u00a0\u2007\u2009\u202f"  # no-break, figure, thin and narrow no-break space
_CURRENCIES = "$€£¥₹₦₱₩฿₫₽₴₺"
_PARTS_OF = re.compile(r" ?(?:分之|分の|분의) ?")
_SLASH = re.compile(r"(\)?)\s?/\s?(\(?)(-?)")
_MIXED = re.compile(r"\s{1,3}(?:(?:and|&) )?")
_TIMES = re.compile(r"\s?[*×x·X]\s?")
_EXPONENT_LETTER = re.compile(r"[eE]([+-]?\d{1,2})(?!\w|\.\d)")
_IRRATIONAL_FACTOR = re.compile(r"\s?(?:[*×·]\s?)?π")
_IRRATIONAL_BEFORE = re.compile(r"π(?: ?[*×·] ?)?$")
_POWER_IN_WORDS = re.compile(r" (?:raised )?to the power (?:of )?(-?\d{1,3})\b")
_LONGEST_BASE = 40  # characters
_HYPHEN_IN_MIXED = re.compile(r"-(?=\d{1,2}/\d{1,2} [a-z])")
_CENTS = re.compile(  # between 18 and 50 in "18 dollars and 50 cents"
    r"(?: (?:dollars?|dólares|dollari|euros?|pounds?|rand|rupees|pesos|reais)| ?€)?,? (?:(?:and|und|et|y|con|e|en|och|og|&) )?",
    re.IGNORECASE,
)
_CURRENCY_NAME = re.compile(r"d[oó]l|euro|pound|rand|rupee|peso|reais|€", re.IGNORECASE)
_CENT = re.compile(r"\d ?(?:cents?|centimes?|c[éê]ntimos|centavos|centesimi|pence|paise?|öre|øre)\b", re.IGNORECASE)

_SPACES = (" ", *_FIXED_SPACES)


class Number(NamedTuple):
    """A number of a text: its value and its position."""

    value: Decimal
    start: int
    end: int
    whole: bool  # written with digits only
    vague: bool = False  # a single Chinese numeral, which is often an ordinary word
    literal: bool = False  # written with digits and marks only, so it may be part of a fraction
    expression: bool = False  # computed from a LaTeX fraction, a root or a power
    ten: bool = False  # a power of ten


def composed_numbers(text: str, numbers: list[Number], language: str, read: ReadNumber) -> list[Number]:
    """Join the numbers of a text that are parts of one number.

    Args:
        text: the whole text.
        numbers: its plain numbers, in order.
        language: code of the language whose magnitude words count.
        read: reads the plain numbers inside an exponent.
    """
    if "!" in text or FACTORIAL in text:
        numbers = [_factorial(text, number) for number in numbers]
    if "^" in text or " power" in text:
        numbers = _without_overlap([_raised(text, number, read) for number in numbers])
    if len(numbers) > 1 and ("/" in text or "分" in text or "분" in text or "\\frac" in text):
        numbers = _joined_fractions(text, numbers)
    if "π" in text or "√" in text or "\\sqrt" in text:
        numbers = _with_irrational_factors(text, numbers)
    numbers = _with_cents(text, _scaled(text, numbers, language))
    for place, number in enumerate(numbers):
        if number.start and is_negative(text, number.start):
            numbers[place] = Number(-number.value, *number[1:])
    return numbers


def _without_overlap(numbers: list[Number]) -> list[Number]:
    kept: list[Number] = []
    for number in numbers:
        if not kept or number.start >= kept[-1].end:
            kept.append(number)
    return kept


def _factorial(text: str, number: Number) -> Number:
    """A number with the factorial sign after it: ``5! = 120``."""
    found = factorial_at(text, number.end, number.value) if number.whole else None
    return number if found is None else number._replace(value=found[0], end=found[1], whole=False)


def _raised(text: str, number: Number, read: ReadNumber) -> Number:
    """A number with the exponent after it: ``10^3``, ``2^{10}``, ``10 to the power of 3``."""
    if number.expression or not number.literal:
        return number
    caret = number.end + (text[number.end : number.end + 1] == " ")
    if not text.startswith("^", caret):
        words = _POWER_IN_WORDS.match(text, number.end)
        if words is None:
            return number
        exponent: Fraction | None = Fraction(int(words.group(1)))
        end = words.end()
    else:
        found = exponent_at(text, caret, read)
        if found is None:
            return number
        exponent, end = found
    base = Fraction(number.value)
    value = as_decimal(power_of(base, exponent)) if number.end - number.start < _LONGEST_BASE else IRRATIONAL
    return number._replace(value=value, end=end, whole=False, literal=False, expression=True, ten=number.value == 10)


def _with_irrational_factors(text: str, numbers: list[Number]) -> list[Number]:
    """The numbers, with ``25π`` and ``3√2`` as one number each. ``2√16`` is 8."""
    joined: list[Number] = []
    for number in numbers:
        before = joined[-1] if joined else None
        if before and number.expression and text.startswith(("\\sqrt", "√", "sqrt"), number.start):
            gap = text[before.end : number.start]
            if gap in ("", " ", "·", "*", "×", " · ", " × ", " * "):
                joined[-1] = before._replace(value=before.value * number.value, end=number.end, whole=False, literal=False)
                continue
        if factor := _IRRATIONAL_FACTOR.match(text, number.end):
            number = number._replace(value=IRRATIONAL, end=factor.end(), whole=False, literal=False)
        elif _IRRATIONAL_BEFORE.search(text, max(0, number.start - 4), number.start):
            number = number._replace(value=IRRATIONAL, whole=False, literal=False)
        joined.append(number)
    return joined


def _joined_fractions(text: str, numbers: list[Number]) -> list[Number]:
    """Join ``3 / 4`` into 0.75, ``1 3/4`` into 1.75 and ``4 分の 3`` into 0.75; a longer chain of slashes stays as it is."""
    joined: list[Number] = []
    index = 0
    while index < len(numbers):
        run = [numbers[index]]
        if index + 1 < len(numbers) and _PARTS_OF.fullmatch(text, run[0].end, numbers[index + 1].start):
            joined.append(_parts_of(text, *numbers[index : index + 2]))
            index += 2
            continue
        slashes = []
        while index + len(run) < len(numbers) and (slash := _slash(text, run[-1], numbers[index + len(run)])):
            run.append(numbers[index + len(run)])
            slashes.append(slash)
        index += len(run)
        if len(run) == 2 and run[1].value:
            joined.append(_quotient(text, run[0], run[1], slashes[0]))
        else:
            joined.extend(run)
        if len(joined) > 1 and (mixed := _mixed(text, *joined[-2:])):
            joined[-2:] = [mixed]
    return joined


def _slash(text: str, top: Number, bottom: Number) -> re.Match[str] | None:
    """The slash between two numbers that make a fraction; brackets around one of them may stand beside it."""
    if bottom.start - top.end > 6 or not all(part.literal or part.whole or part.expression for part in (top, bottom)):
        return None
    slash = _SLASH.fullmatch(text, top.end, bottom.start)
    if slash is None or (slash.group(1) and not re.search(r"\( ?-?$", text[max(0, top.start - 3) : top.start])):
        return None
    return None if slash.group(2) and not text.startswith(")", bottom.end) else slash


def _quotient(text: str, top: Number, bottom: Number, slash: re.Match[str]) -> Number:
    value = top.value / (-bottom.value if slash.group(3) else bottom.value)
    negative = slash.group(1) and text[top.start - 1] == "-"
    start = text.rfind("(", 0, top.start) if slash.group(1) else top.start
    end = bottom.end + 1 if slash.group(2) else bottom.end
    return Number(-value if negative else value, start, end, whole=False, expression=True)


def _mixed(text: str, whole: Number, fraction: Number) -> Number | None:
    """A mixed number such as ``2 1/2``; None if these are two numbers."""
    if not (whole.literal and fraction.expression) or fraction.value.is_nan() or not 0 < fraction.value < 1:
        return None
    if whole.value != whole.value.to_integral_value():
        return None
    at_once = text.startswith("\\frac", fraction.start) and whole.end == fraction.start
    hyphen = text[whole.end : fraction.start] == "-" and whole.value and _HYPHEN_IN_MIXED.match(text, whole.end)
    if not at_once and not hyphen and not _MIXED.fullmatch(text, whole.end, fraction.start):
        return None
    return Number(whole.value + fraction.value, whole.start, fraction.end, whole=False, expression=True)


def _parts_of(text: str, parts: Number, taken: Number) -> Number:
    """The value of a fraction in words: ``3 分の 2`` is two thirds; 百分之 25 is 25%, which counts as 25."""
    percent = text[parts.start : parts.end] == "百"
    value = taken.value if percent or not parts.value else taken.value / parts.value
    return Number(value, parts.start, taken.end, whole=False)


def _with_cents(text: str, numbers: list[Number]) -> list[Number]:
    """The numbers, with ``18 dollars and 50 cents`` as one number: 18.5."""
    if len(numbers) < 2 or not _CENT.search(text):
        return numbers
    joined: list[Number] = []
    for number in numbers:
        before = joined[-1] if joined else None
        if (
            before
            and before.whole
            and number.whole
            and _CENTS.fullmatch(text, before.end, number.start)
            and _CENT.match(text, number.end - 1)
            and _money_before(text, before, number)
        ):
            joined[-1] = before._replace(value=before.value + number.value / 100, end=number.end, whole=False)
        else:
            joined.append(number)
    return joined


def _money_before(text: str, whole: Number, cents: Number) -> bool:
    """Whether a currency stands beside the first of two numbers."""
    sign = text[max(0, whole.start - 1) : whole.start] in tuple(_CURRENCIES)
    return sign or _CURRENCY_NAME.search(text, whole.end, cents.start) is not None


@cache
def _beside(language: str) -> frozenset[str]:
    """The characters that may follow a number, at once or after a space, if what follows multiplies it."""
    return magnitude_initials(language) | frozenset("eEkKmMbBtT*×x·X")


def _scaled(text: str, numbers: list[Number], language: str) -> list[Number]:
    """Multiply numbers by the magnitude or power of ten beside them: ``2 million``, ``elfu 3``, ``5 सय 42``, ``3 × 10^4``."""
    scaled: list[Number] = []
    index = 0
    prefixed = has_magnitudes_before(language)
    beside = _beside(language)
    while index < len(numbers):
        number = numbers[index]
        index += 1
        start = number.start
        if not prefixed or start < 2 or text[start - 1] != " " or not text[start - 2].isalpha():  # no word right before it
            after = text[number.end : number.end + 2]
            if (after[1:] if after[:1] in _SPACES else after[:1]) not in beside:
                scaled.append(number)  # nothing beside it can change it
                continue
        following = numbers[index] if index < len(numbers) else None
        if following and following.ten and _TIMES.fullmatch(text, number.end, following.start):
            number = number._replace(value=number.value * following.value, end=following.end, whole=False, literal=False)
            index += 1
        elif text[number.end : number.end + 1] in "eE" and (power := _EXPONENT_LETTER.match(text, number.end)):
            number = number._replace(value=number.value.scaleb(int(power.group(1))), end=power.end(), whole=False)
        else:
            number, index = _with_magnitudes(text, number, numbers, index, language)
        while index < len(numbers) and numbers[index].start < number.end:
            index += 1  # already used: the exponent of 1.5e3
        scaled.append(number)
    return scaled


def _with_magnitudes(text: str, number: Number, numbers: list[Number], index: int, language: str) -> tuple[Number, int]:
    """A number with its magnitude words and the smaller numbers that follow them, and the index of the next number."""
    if found := magnitude_before(text, number.start, language):
        exponent, start = found
        number = number._replace(value=number.value.scaleb(exponent), start=start, whole=False, literal=False)
        return _with_rests_before(text, number, exponent, numbers, index, language)
    number, room = _with_magnitude(text, number, language)
    while room and index < len(numbers) and (rest := _rest_of(text, number, numbers[index], room, language)):
        part, room = rest
        number = number._replace(value=number.value + part.value, end=part.end)
        index += 1
    return number, index


def _with_rests_before(
    text: str, number: Number, room: int, numbers: list[Number], index: int, language: str
) -> tuple[Number, int]:
    """A number such as ``elfu 3 mia 5`` or ``dubu 5 da 40``, where each magnitude stands before its number."""
    while index < len(numbers):
        part = numbers[index]
        found = magnitude_before(text, part.start, language)
        exponent, start = found or (0, part.start)
        value = part.value.scaleb(exponent)
        if text[number.end : start] not in (" ", " na ", " da ") or exponent >= room or not part.literal or value >= 10**room:
            break
        number = number._replace(value=number.value + value, end=part.end)
        room, index = exponent, index + 1
    return number, index


def _with_magnitude(text: str, number: Number, language: str) -> tuple[Number, int]:
    """A number times the magnitude words after it, and their power of ten, below which a rest may follow; 0 without any."""
    following = text[number.end : number.end + 2]
    if not following.lstrip()[:1].isalpha():
        return number, 0
    room = 0
    while found := magnitude_at(text, number.end, language):
        exponent, end = found
        number = number._replace(value=number.value.scaleb(exponent), end=end, whole=False, vague=False, literal=False)
        room = exponent if not room else room + exponent
    if not room and (following[0] in "kKMmBbTt" or following in (" k", " M")):
        number = _with_letter(text, number, language)
    return number, room


def _with_letter(text: str, number: Number, language: str) -> Number:
    """A number times the magnitude letter after it: ``18k``, ``$1.5M``."""
    if not (number.literal or number.whole):
        return number
    found = magnitude_letter(text, number.start, number.end, number.value, whole=number.whole, language=language)
    if found is None:
        return number
    return number._replace(value=number.value.scaleb(found[0]), end=found[1], whole=False, literal=False)


def _rest_of(text: str, before: Number, number: Number, room: int, language: str) -> tuple[Number, int] | None:
    """The rest of a number, such as 42 in ``5 सय 42``: it follows directly and is smaller than the magnitude before it."""
    whole = number.whole or (number.literal and number.value == number.value.to_integral_value())
    if not whole or text[before.end : number.start].strip(f" {_FIXED_SPACES}") or number.start - before.end > 1:
        return None
    part, smaller = _with_magnitude(text, number, language)
    return (part, smaller) if part.value < 10**room else None
