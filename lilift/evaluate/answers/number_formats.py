"""Finds the numbers of a text, in the number formats of many languages and scripts.

Some numbers are ambiguous: ``1.050`` may be a thousand and fifty, or a little more than one. The other numbers of the same text
decide first, then whether the text is English, then the custom of the language (`number_customs.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from lilift.evaluate.answers.mathematics import expressions, has_mathematics, whole_expression
from lilift.evaluate.answers.number_composition import Number, composed_numbers
from lilift.evaluate.answers.number_customs import number_custom
from lilift.evaluate.answers.number_words import has_unit_words, unit_words
from lilift.evaluate.answers.numerals import may_have_numerals, numerals

# the(re(fore)), they, she, each, how, many, with, answer. A set comes first, so that Python skips other letters quickly.
_ENGLISH_WORDS = re.compile(
    r"[TtSsEeHhMmWwAa](?<!\w.)"
    r"(?i:(?<=t)he(?:re(?:fore)?|y)?|(?<=s)he|(?<=e)ach|(?<=h)ow|(?<=m)any|(?<=w)ith|(?<=a)nswer)\b"
)

_FIXED_SPACES = "\u00a0\u2007\u2009\u202f"  # no-break, figure, thin and narrow no-break space: never between two numbers
_GROUP_MARKS = "٬'’"  # marks that only group digits
_CURRENCIES = "$€£¥₹"
_CURRENCY_WORD = re.compile(
    r" ?(?:US ?)?(?:[$€£¥₹]|dollar|dollár|dol[aá]r|դոլար|д[оа]л+[аяр]|долл|e[uv]ro|евр|юро)", re.IGNORECASE
)
_CURRENCY_LETTERS = frozenset(_CURRENCIES + "UuDdEeդԴДдЕеЮю")
# `re` does not count the vowel signs of these scripts as letters of a word before a full stop.
_MARKS = "\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_TOKEN = re.compile(
    rf"[0-9.](?:(?<=[0-9])[0-9]*(?:[.,٫{_GROUP_MARKS}][0-9]+|[ {_FIXED_SPACES}][0-9]{{3}}(?![0-9]))*"
    rf"|(?<=\.)(?<![\w{_MARKS}.,)]\.)[0-9]+(?![.,]?[0-9]))"  # .5
)
_GROUPS = re.compile(rf"[.,{_GROUP_MARKS} {_FIXED_SPACES}]")
_RARE_GROUPS = re.compile(rf"[{_GROUP_MARKS} {_FIXED_SPACES}]")
_CLEAR_DECIMAL = re.compile(r"[0-9]+[.,][0-9]{1,2}|0[.,][0-9]+")  # in every language
_THREES = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_MISPLACED = re.compile(r"\d+,\d{4,}")
_PIECES, _PIECES_BETWEEN_SPACES = re.compile(r"\d+"), re.compile(r"[^ ]+")
_SINGLE_MARK = re.compile(r"(\d+)([.,])(\d+)")
# x^2, m2, cm3, CO2, H2O: not an answer
_UNIT_BEFORE = re.compile(r"(?:\^\s?[{(]?\s?-?|(?<![^\W\d_])(?:[kcdm]?m|[кcсцдм]?м|سم|ft|in|CO|H))$")
# A price whose decimal mark is a colon or the currency's sign: 1 234:50 and 12:50 kr in Swedish, 12€50 in French, 12$50 in
# Portuguese. 12:50 alone is a time of day.
_PRICE_MARKS = {
    ":": re.compile(
        rf"(?<![\d:.,])(?:\d{{1,3}}(?:[ .{_FIXED_SPACES}]\d{{3}})+(:)\d\d|\d+(:)\d\d(?= ?(?:kr\b|kron|SEK\b))"
        rf"|(?<=kr )\d+(:)\d\d|(?<=SEK )\d+(:)\d\d)(?![\d:])"
    ),
    "€": re.compile(r"(?<![\d.,€])\d+(€)\d\d(?!\d|[.,]\d| ?€)"),
    "$": re.compile(r"(?<![\d.,$])\d+(\$)\d\d(?!\d|[.,]\d| ?\$)"),
}
_PRICE_MARKS_OF = {"sv": ":€", "pt": "$€", "kea": "$€"}
_new = tuple.__new__  # makes a `Number` in half the time of its own constructor, for the numbers that are simple
_LONGEST_LITERAL = 40  # characters of a number inside arithmetic


@dataclass(frozen=True)
class _Convention:
    decimal: str  # "." or ","; empty if a mark before three digits always groups
    spaces_group: bool  # 80 000 is one number


def find_numbers(text: str, language: str) -> list[Number]:
    """Every number of a text, in order, with its sign, fraction, power and magnitude.

    The value of a number that no decimal number equals, such as ``5√2``, is `lilift.evaluate.answers.mathematics.IRRATIONAL`.

    Args:
        text: the result of `lilift.evaluate.answers.plain_text.plain_text`; positions refer to it.
        language: code of the language whose custom decides where the text is ambiguous.
    """
    text = _with_decimal_commas(text, language)
    reader = _TokenReader(text, language)
    plain: list[Number] = []
    raised = "^" in text
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        token = text[start:end]
        if start and (raised or text[start - 1].isalpha()) and _UNIT_BEFORE.search(text, max(0, start - 5), start):
            continue
        if token.isdigit():
            plain.append(_new(Number, (Decimal(token), start, end, True, False, True, False, False)))
        elif _CLEAR_DECIMAL.fullmatch(token):
            value = Decimal(token.replace(",", "."))
            plain.append(_new(Number, (value, start, end, False, False, True, False, False)))
        else:
            plain.extend(reader.numbers(match))
    if has_mathematics(text):
        plain = _with_expressions(plain, list(expressions(text, reader.literal)))
    if not text.isascii():  # all numerals and words for digits are beyond ASCII
        words = []
        if has_unit_words(language):
            words = [Number(Decimal(value), start, end, whole=True) for value, start, end in unit_words(text, language)]
        if may_have_numerals(text, language):
            words += [Number(value, start, end, True, vague) for value, start, end, vague in numerals(text, language)]
        if words:
            plain = sorted(plain + words, key=lambda number: number.start)
    return composed_numbers(text, plain, language, reader.literal)


def _with_decimal_commas(text: str, language: str) -> str:
    """The text, as long as before, with a comma for every other decimal mark of a price."""
    for mark in _PRICE_MARKS_OF.get(language, "€"):
        if mark in text:
            text = _PRICE_MARKS[mark].sub(lambda found: found.group().replace(found.group(found.lastindex or 0), ","), text)
    return text


def value_of_expression(text: str, language: str) -> tuple[Decimal, int] | None:
    """The value of the arithmetic at the start of a text, and its end; None if the text does not start with arithmetic."""
    return whole_expression(text, _TokenReader(text, language).literal)


def _with_expressions(plain: list[Number], found: list[tuple[Decimal, int, int]]) -> list[Number]:
    """The numbers outside the arithmetic of a text, and the values of this arithmetic."""
    joined: list[Number] = []
    place = 0
    for value, start, end in found:
        while place < len(plain) and plain[place].start < start:
            joined.append(plain[place])
            place += 1
        while place < len(plain) and plain[place].start < end:
            place += 1
        joined.append(Number(value, start, end, whole=False, expression=True))
    return joined + plain[place:]


class _TokenReader:
    """Reads the numbers of one text. It judges the text's number format at the first token that is ambiguous."""

    def __init__(self, text: str, language: str) -> None:
        self.text, self.language = text, language
        self._judged: _Convention | None = None

    def convention(self) -> _Convention:
        """How this text writes numbers."""
        if self._judged is None:
            self._judged = _convention(self.text, self.language)
        return self._judged

    def numbers(self, match: re.Match[str]) -> Iterable[Number]:
        """The number of a token, or several numbers if it cannot be a single one."""
        token = match.group()
        if "." not in token and "," not in token and "٫" not in token:  # 80 000: all its marks group
            groups = _GROUPS.split(token)
            together = " " not in token or "0" in (group[0] for group in groups[1:]) or self.convention().spaces_group
            if together and _well_grouped(groups, token):
                start, end = match.span()
                return (_new(Number, (Decimal("".join(groups)), start, end, False, False, True, False, False)),)
        return _read_token(match.group(), match.start(), _of_money(self.text, match, self.convention()))

    def literal(self, text: str, position: int) -> tuple[Decimal, int] | None:
        """The plain number that begins at a position of arithmetic, and its end."""
        match = _TOKEN.match(text, position)
        if match is None or match.end() - position > _LONGEST_LITERAL:
            return None
        token = match.group()
        value = Decimal(token) if token.isdigit() else _read_one(token, self.convention())
        return None if value is None else (value, match.end())


def _convention(text: str, language: str) -> _Convention:
    """How this text writes numbers: judged by its unambiguous numbers, then by whether it is English, then by its language."""
    custom = number_custom(language)
    if (custom.decimal != "." or custom.spaces_group) and len(_ENGLISH_WORDS.findall(text)) >= 2:
        custom = number_custom("en")
    votes = [mark for token in _TOKEN.findall(text) if (mark := _decimal_mark_shown_by(token))]
    commas, points = votes.count(","), votes.count(".")
    decimal = custom.decimal if commas == points else "," if commas > points else "."
    return _Convention(decimal, custom.spaces_group)


def _decimal_mark_shown_by(token: str) -> str | None:
    """The decimal mark that a token clearly uses, or None if it is ambiguous."""
    if token.isdigit():
        return None
    marks = [character for character in token if character in ".,"]
    other = {".": ",", ",": "."}
    if len(marks) >= 2:
        if len(set(marks)) == 2:
            return marks[-1] if marks.count(marks[-1]) == 1 else None
        return other[marks[0]] if _THREES.fullmatch(token) else None
    single = _SINGLE_MARK.fullmatch(token)
    if single is None:
        return None
    head, mark, tail = single.groups()
    return mark if head == "0" or len(tail) < 3 or (len(head) > 3 and len(tail) == 3) else None


def _of_money(text: str, match: re.Match[str], convention: _Convention) -> _Convention:
    """The convention for one token. Beside a currency sign, ``2,584`` is whole in every language.

    English alone writes prices with three decimals there (``$3.459 a gallon``), but not before a euro sign (``2.584 €``).
    """
    start, end = match.span()
    if start and (text[start - 1] in _CURRENCIES or (text[start - 1] in " -" and text[max(0, start - 2)] in _CURRENCIES)):
        return convention if convention.decimal == "." else replace(convention, decimal="")
    after = _CURRENCY_WORD.match(text, end) if text[end : end + 2].strip()[:1] in _CURRENCY_LETTERS else None
    if after and (convention.decimal != "." or "€" in after.group()):
        return replace(convention, decimal="")
    return convention


def _read_token(token: str, start: int, convention: _Convention) -> Iterator[Number]:
    """The number that a run of digits and marks means, or several numbers if it cannot be a single one."""
    value = _read_one(token, convention)
    if value is not None:
        yield Number(value, start, start + len(token), whole=token.isdigit(), literal=True)
        return
    for piece in (_PIECES_BETWEEN_SPACES if " " in token else _PIECES).finditer(token):
        yield from _read_token(piece.group(), start + piece.start(), convention)


def _read_one(token: str, convention: _Convention) -> Decimal | None:
    """The value of a token, or None if its marks do not fit a single number."""
    if " " in token and not _spaces_may_group(token, convention):
        return None
    head, decimal, tail = token.partition("٫")
    if not decimal:
        mark = _decimal_mark_of(token, convention)
        head, _, tail = token.rpartition(mark) if mark else (token, "", "")
    groups = _GROUPS.split(head)
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
    head, mark, tail = _RARE_GROUPS.split(token)[-1].partition(marks[0])
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
    lengths = set(map(len, rest))
    if lengths == {3}:
        return True
    indian = len(first) <= 2 and len(rest[-1]) == 3 and set(map(len, rest[:-1])) == {2}
    return indian or _MISPLACED.fullmatch(token) is not None


def plain_number(number: Decimal) -> str:
    """A number as text, without exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
