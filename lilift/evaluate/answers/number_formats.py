"""Finds the numbers of a text, in the number formats of many languages and scripts.

Some numbers are ambiguous: ``1.050`` may be a thousand and fifty, or a little more than one. The other numbers of the same text
decide first, then whether the text is English, then the custom of the language (`number_customs.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from lilift.evaluate.answers.number_customs import number_custom
from lilift.evaluate.answers.number_words import magnitude_at, unit_words
from lilift.evaluate.answers.numerals import numerals

_ENGLISH_WORDS = re.compile(r"\b(?:the|there|therefore|they|she|each|how|many|with|answer)\b", re.IGNORECASE)

_FIXED_SPACES = "\u00a0\u2007\u2009\u202f"  # no-break, figure, thin and narrow no-break space: never between two numbers
_GROUP_MARKS = "٬'’"  # marks that only group digits
_CURRENCIES = "$€£¥₹"
_CURRENCY_WORD = re.compile(
    r" ?(?:US ?)?(?:[$€£¥₹]|dollar|dollár|dol[aá]r|դոլար|д[оа]л+[аяр]|долл|e[uv]ro|евр|юро)", re.IGNORECASE
)
_TOKEN = re.compile(
    rf"(?<![\w.,)])\.\d+(?![.,]?\d)"  # .5
    rf"|\d+(?:[.,٫{_GROUP_MARKS}]\d+|[ {_FIXED_SPACES}]\d{{3}}(?!\d))*"
)
_PARTS_OF = re.compile(r" ?(?:分之|分の|분의) ?")
_SINGLE_MARK = re.compile(r"(\d+)([.,])(\d+)")
# x^2, m2, cm3, CO2, H2O: not an answer
_UNIT_BEFORE = re.compile(r"(?:\^\{?|(?<![^\W\d_])(?:[kcdm]?m|[кcсцдм]?м|سم|ft|in|CO|H))$")
# In languages with a decimal comma, "minus" may also mean "less" (au moins 5, 5 de menos), so it must follow "is" or "=".
_MINUS_WORDS = (
    "minus|negative|минус|мінус|ऋण|ঋণাত্মক|سالب|マイナス|마이너스|ลบ"
    "|(?:(?<=es )|(?<=est )|(?<=è )|(?<=é )|(?<== ))(?:menos|moins|meno)"
)
_MINUS_BEFORE = re.compile(
    rf"(?:(?P<close>[{_CURRENCIES}]?[-−–][{_CURRENCIES}]?)|(?P<loose>[=(]|\bis) ?[-−–] |\b(?P<word>{_MINUS_WORDS}) "
    r"|(?P<direct>负|負|マイナス|마이너스))$",
    re.IGNORECASE,
)
_POWER_AFTER = re.compile(r"\s*(?:×|\\times|\\cdot|\*)\s*10\s*\^\s*\{?([-−]?\d{1,2})\}?|[eE]([+-]?\d{1,2})(?![\w.])")


@dataclass(frozen=True)
class Number:
    """A number of a text: its value and its position."""

    value: Decimal
    start: int
    end: int
    whole: bool  # written with digits only, so it may be part of a fraction
    vague: bool = False  # a single Chinese numeral, which is often an ordinary word


@dataclass(frozen=True)
class _Convention:
    decimal: str  # "." or ","; empty if a mark before three digits always groups
    spaces_group: bool  # 80 000 is one number


def find_numbers(text: str, language: str) -> list[Number]:
    """Every number of a text, in order, with its sign, fraction and magnitude.

    Args:
        text: the result of `lilift.evaluate.answers.plain_text.plain_text`; positions refer to it.
        language: code of the language whose custom decides where the text is ambiguous.
    """
    convention = _convention(text, language)
    plain = [
        number
        for match in _TOKEN.finditer(text)
        for number in _read_token(match.group(), match.start(), _of_money(text, match, convention))
        if not _UNIT_BEFORE.search(text, max(0, number.start - 4), number.start)
    ]
    words = [Number(Decimal(value), start, end, whole=True) for value, start, end in unit_words(text, language)]
    words += [Number(value, start, end, True, vague) for value, start, end, vague in numerals(text, language)]
    if words:
        plain = sorted(plain + words, key=lambda number: number.start)
    return [_signed(text, number) for number in _scaled(text, _join_fractions(text, plain), language)]


def _convention(text: str, language: str) -> _Convention:
    """How this text writes numbers: judged by its unambiguous numbers, then by whether it is English, then by its language."""
    english = language == "en" or len(_ENGLISH_WORDS.findall(text)) >= 2
    custom = number_custom("en" if english else language)
    votes = Counter(mark for token in _TOKEN.findall(text) if (mark := _decimal_mark_shown_by(token)))
    (decimal, most), (_, least) = (*votes.most_common(2), ("", 0), ("", 0))[:2]
    return _Convention(decimal if most > least else custom.decimal, custom.spaces_group)


def _decimal_mark_shown_by(token: str) -> str | None:
    """The decimal mark that a token clearly uses, or None if it is ambiguous."""
    marks = [character for character in token if character in ".,"]
    other = {".": ",", ",": "."}
    if len(marks) >= 2:
        if len(set(marks)) == 2:
            return marks[-1] if marks.count(marks[-1]) == 1 else None
        return other[marks[0]] if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", token) else None
    single = _SINGLE_MARK.fullmatch(token)
    if single is None:
        return None
    head, mark, tail = single.groups()
    return mark if head == "0" or len(tail) < 3 or (len(head) > 3 and len(tail) == 3) else None


def _of_money(text: str, match: re.Match[str], convention: _Convention) -> _Convention:
    """The convention for one token. Money never has three decimals, so ``2,584`` beside a currency sign is always whole."""
    before = text[max(0, match.start() - 2) : match.start()]
    money = any(sign in before for sign in _CURRENCIES) or _CURRENCY_WORD.match(text, match.end())
    return replace(convention, decimal="") if money else convention


def _read_token(token: str, start: int, convention: _Convention) -> Iterator[Number]:
    """The number that a run of digits and marks means, or several numbers if it cannot be a single one."""
    value = _read_one(token, convention)
    if value is not None:
        yield Number(value, start, start + len(token), whole=token.isdigit())
        return
    pieces = r"[^ ]+" if " " in token else r"\d+"
    for piece in re.finditer(pieces, token):
        yield from _read_token(piece.group(), start + piece.start(), convention)


def _read_one(token: str, convention: _Convention) -> Decimal | None:
    """The value of a token, or None if its marks do not fit a single number."""
    if " " in token and not _spaces_may_group(token, convention):
        return None
    head, decimal, tail = token.partition("٫")
    if not decimal:
        mark = _decimal_mark_of(token, convention)
        head, _, tail = token.rpartition(mark) if mark else (token, "", "")
    groups = re.split(rf"[.,{_GROUP_MARKS} {_FIXED_SPACES}]", head)
    if not tail.isdigit() and tail:
        return None
    if len(groups) > 1 and not _well_grouped(groups, token):
        return None
    return Decimal(f"{''.join(groups) or '0'}.{tail or '0'}")


def _spaces_may_group(token: str, convention: _Convention) -> bool:
    """Whether ordinary spaces may group the digits of a token: by custom, or because a group like ``000`` is not a number."""
    return convention.spaces_group or any(group.startswith("0") for group in token.split(" ")[1:])


def _decimal_mark_of(token: str, convention: _Convention) -> str | None:
    """The decimal mark of a token; None if all its marks group."""
    if token[0] in ".,":
        return token[0]
    shown = _decimal_mark_shown_by(token)
    marks = [character for character in token if character in ".,"]
    if not marks:
        return None
    if shown is not None:
        return shown if shown in marks else None
    if len(marks) > 1:
        return None
    head, mark, tail = re.split(rf"[{_GROUP_MARKS} {_FIXED_SPACES}]", token)[-1].partition(marks[0])
    if mark == "," and len(tail) > 3 and convention.decimal == ".":
        return None  # 71,2261: a misplaced separator, because a comma is not a decimal mark here
    if len(tail) != 3 or len(head) > 3:
        return mark
    return mark if mark == convention.decimal else None


def _well_grouped(groups: list[str], token: str) -> bool:
    """Whether digits are grouped in threes (1,050,000), in the Indian way (1,05,000), or by one misplaced comma (71,2261)."""
    first, *rest = groups
    if not 1 <= len(first) <= 3 or first.startswith("0"):
        return False
    threes = all(len(group) == 3 for group in rest)
    indian = len(first) <= 2 and len(rest[-1]) == 3 and all(len(group) == 2 for group in rest[:-1])
    misplaced = re.fullmatch(r"\d+,\d{4,}", token) is not None
    return threes or indian or misplaced


def _join_fractions(text: str, numbers: list[Number]) -> list[Number]:
    """Join ``3 / 4`` into 0.75, ``1 3/4`` into 1.75 and ``4 分の 3`` into 0.75; a longer chain of slashes stays as it is."""
    joined: list[Number] = []
    index = 0
    while index < len(numbers):
        run = [numbers[index]]
        if index + 1 < len(numbers) and _PARTS_OF.fullmatch(text[run[0].end : numbers[index + 1].start]):
            joined.append(_parts_of(text, *numbers[index : index + 2]))
            index += 2
            continue
        while index + len(run) < len(numbers) and re.fullmatch(r"\s?/\s?", text[run[-1].end : numbers[index + len(run)].start]):
            run.append(numbers[index + len(run)])
        index += len(run)
        if len(run) == 2 and run[1].value != 0 and (run[0].whole and run[1].whole):
            fraction = Number(run[0].value / run[1].value, run[0].start, run[1].end, whole=False)
            before = joined[-1] if joined else None
            if before and before.whole and fraction.value < 1 and text[before.end : fraction.start] in (" ", "  ", " and "):
                joined[-1] = Number(before.value + fraction.value, before.start, fraction.end, whole=False)
            else:
                joined.append(fraction)
        else:
            joined.extend(run)
    return joined


def _parts_of(text: str, parts: Number, taken: Number) -> Number:
    """The value of a fraction in words: ``3 分の 2`` is two thirds; 百分之 25 is 25%, which counts as 25."""
    percent = text[parts.start : parts.end] == "百"
    value = taken.value if percent or not parts.value else taken.value / parts.value
    return Number(value, parts.start, taken.end, whole=False)


def _scaled(text: str, numbers: list[Number], language: str) -> Iterator[Number]:
    """Multiply numbers by the magnitude or power of ten after them: ``2 million``, ``5 सय 42``, ``3万5千``, ``3 × 10^4``."""
    index = 0
    while index < len(numbers):
        number = numbers[index]
        index += 1
        power = _POWER_AFTER.match(text, number.end)
        if power:
            exponent = int((power.group(1) or power.group(2)).replace("−", "-"))
            number = replace(number, value=number.value.scaleb(exponent), end=power.end())
        else:
            number, room = _with_magnitude(text, number, language)
            while room and index < len(numbers) and (rest := _rest_of(text, number, numbers[index], room, language)):
                part, room = rest
                number = replace(number, value=number.value + part.value, end=part.end)
                index += 1
        while index < len(numbers) and numbers[index].start < number.end:
            index += 1  # already used: the 10 of 10^4
        yield number


def _with_magnitude(text: str, number: Number, language: str) -> tuple[Number, int]:
    """A number times the magnitude words after it, and their power of ten, below which a rest may follow; 0 without any."""
    room = 0
    while found := magnitude_at(text, number.end, language):
        exponent, end = found
        number = replace(number, value=number.value.scaleb(exponent), end=end, whole=False, vague=False)
        room = exponent if not room else room + exponent
    return number, room


def _rest_of(text: str, before: Number, number: Number, room: int, language: str) -> tuple[Number, int] | None:
    """The rest of a number, such as 42 in ``5 सय 42``: it follows directly and is smaller than the magnitude before it."""
    if not number.whole or text[before.end : number.start].strip(f" {_FIXED_SPACES}") or number.start - before.end > 1:
        return None
    part, smaller = _with_magnitude(text, number, language)
    return (part, smaller) if part.value < 10**room else None


def _signed(text: str, number: Number) -> Number:
    """Make a number negative if the mark before it is its minus sign, and not a subtraction, a range or a hyphen."""
    sign = _MINUS_BEFORE.search(text, max(0, number.start - 12), number.start)
    if sign is None:
        return number
    left = text[max(0, sign.start() - 2) : sign.start()]
    if sign.group("close") and re.search(r"[\w)\]}%°]$", left):
        return number  # 10-3, 3–5, COVID-19
    if not sign.group("loose") and re.search(r"[\d)%] ?$", left):
        return number  # 10 -3, 10 minus 3
    return replace(number, value=-number.value)


def plain_number(number: Decimal) -> str:
    """A number as text, without exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
