"""Computes the value of arithmetic in LaTeX and plain text: fractions, roots, powers, sums and products.

The value of √2, π and everything computed from them is `IRRATIONAL`, because no decimal number equals it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction

from lilift.evaluate.answers.plain_text import FACTORIAL

IRRATIONAL = Decimal("NaN")
"""The value of a number that no decimal number equals."""

ReadNumber = Callable[[str, int], "tuple[Decimal, int] | None"]
"""Reads the plain number at a position of a text: its value and its end, or None if there is no number."""

Value = Fraction | None  # None: irrational

_DEEPEST = 12  # brackets within brackets
_LONGEST = 300  # characters of one expression
_MOST_EXPRESSIONS = 300  # of one text; more are no answer to a word problem
_LARGEST_POWER = 400  # decimal digits of a power
_ROOT = re.compile(r"\\sqrt|√|(?<![A-Za-z])sqrt(?=\s?\()")
_TIMES = re.compile(r"\s*(?:[*×·÷/]|[xX](?=\s?[\d(\\]))\s*")
_SIGN = re.compile(r"\s*([-+])\s*")
_LEADING_SIGN = re.compile(r"\s*([-+–])\s*")
_SPACES = re.compile(r"\s*")
_PLACES = re.compile(r"\\frac(?![A-Za-z])|\\sqrt(?![A-Za-z])|√|(?<![A-Za-z])sqrt(?=\s?\()|\)\s?\^")
# 5! = 120, 5!/3!, 5! ways; but "There are 5!" is an exclamation
_FACTORIAL_SIGN = re.compile(
    rf"{FACTORIAL}| ?!(?=\s?[=*/×·÷^}}\]]| ?\\(?:frac|approx)|[.,;] | \+ \d| ?\((?=\d+!)|[.,;]$"
    r"| (?:ways?|possible|permutations?|arrangements?|orders?|orderings?|different)\b)"
)
_LARGEST_FACTORIAL = 60
_ORDINAL = re.compile(r"\{?\s*(?:th|st|nd|rd)\b")


class _NoMathematicsError(Exception):
    """The text at this place is not arithmetic."""


def has_mathematics(text: str) -> bool:
    """Whether a text may contain arithmetic that `expressions` finds; a quick test."""
    return "\\" in text or "√" in text or "sqrt" in text or ")^" in text or ") ^" in text


def expressions(text: str, read: ReadNumber) -> Iterator[tuple[Decimal, int, int]]:
    """Value, start and end of each fraction, root and power of a bracket in a text.

    Args:
        text: the result of `lilift.evaluate.answers.plain_text.plain_text`.
        read: reads the plain numbers inside.
    """
    end = tried = 0
    for match in _PLACES.finditer(text):
        start = match.start()
        if match.group().startswith(")"):
            start = _opening_bracket(text, start)
        if start < end:
            continue
        tried += 1
        if tried > _MOST_EXPRESSIONS:
            return
        try:
            value, end = _Arithmetic(text, read, start).power(start)
        except _NoMathematicsError:
            continue
        yield as_decimal(value), start, end


def _opening_bracket(text: str, closing: int) -> int:
    """The position of the bracket that `closing` closes; -1 if it is not near."""
    depth = 0
    for position in range(closing, max(-1, closing - 60), -1):
        depth += {")": 1, "(": -1}.get(text[position], 0)
        if not depth:
            return position
    return -1


def exponent_at(text: str, position: int, read: ReadNumber) -> tuple[Value, int] | None:
    """The exponent after the ``^`` at a position, and its end; None for an ordinal such as ``18^{th}``.

    A letter as an exponent counts as irrational.
    """
    position = _after(_SPACES, text, position + 1)
    if _ORDINAL.match(text, position):
        return None
    try:
        return _Arithmetic(text, read, position).exponent(position)
    except _NoMathematicsError:
        return None, position


def factorial_at(text: str, position: int, number: Decimal) -> tuple[Decimal, int] | None:
    """The factorial of the whole number that ends at a position, and the end of its sign; None without a sign."""
    sign = _FACTORIAL_SIGN.match(text, position)
    if sign is None:
        return None
    return (Decimal(math.factorial(int(number))) if number <= _LARGEST_FACTORIAL else IRRATIONAL), sign.end()


def whole_expression(text: str, read: ReadNumber) -> tuple[Decimal, int] | None:
    """The value of the arithmetic at the start of a text, and its end; None if it does not start with arithmetic."""
    if len(text) > _LONGEST:
        return None
    try:
        value, end = _Arithmetic(text, read, 0).sum(_after(_SPACES, text, 0))
    except _NoMathematicsError:
        return None
    return as_decimal(value), end


def as_decimal(value: Value) -> Decimal:
    """A fraction as a decimal number of 28 digits."""
    return IRRATIONAL if value is None else Decimal(value.numerator) / Decimal(value.denominator)


def power_of(base: Value, exponent: Value) -> Value:
    """A power; None if it is irrational or has more than `_LARGEST_POWER` digits."""
    if base is None or exponent is None:
        return None
    if exponent.denominator > 1:
        root = root_of(base, exponent.denominator)
        return None if root is None else power_of(root, Fraction(exponent.numerator))
    size = max(abs(base.numerator), base.denominator)
    if abs(exponent) * math.log10(size) > _LARGEST_POWER if size > 1 else False:
        return None
    if not base:
        return None if exponent < 0 else Fraction(0 if exponent else 1)
    return base ** (int(exponent) if size > 1 else int(exponent) % 2)


def root_of(value: Value, degree: int) -> Value:
    """A root; None if it is irrational or not real."""
    if value is None or degree < 1 or degree > 60 or (value < 0 and degree % 2 == 0):
        return None
    top, bottom = (_integer_root(part, degree) for part in (abs(value.numerator), value.denominator))
    if top is None or bottom is None:
        return None
    return Fraction(top if value >= 0 else -top, bottom)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
    elif value.bit_length() > 1000:
        return None
    else:
        root = round(value ** (1 / degree))
    return root if root**degree == value else None


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


class _Arithmetic:
    """Reads sums, products, powers, roots, fractions and brackets of a text, by recursive descent."""

    def __init__(self, text: str, read: ReadNumber, start: int) -> None:
        self.text, self.read, self.depth, self.stop = text, read, 0, start + _LONGEST

    def sum(self, position: int) -> tuple[Value, int]:
        value, position = self.product(position)
        while sign := _SIGN.match(self.text, position):
            try:
                part, end = self.product(sign.end())
            except _NoMathematicsError:
                break
            minus = sign.group(1) != "+"
            value = None if value is None or part is None else value - part if minus else value + part
            position = end
        return value, position

    def product(self, position: int) -> tuple[Value, int]:
        value, position = self.power(position)
        while True:
            sign = _TIMES.match(self.text, position)
            try:
                part, end = self.power(sign.end() if sign else self._implied(position))
            except _NoMathematicsError:
                return value, position
            if value is None or part is None:
                value = None
            elif sign and sign.group().strip() in "÷/":
                if not part:
                    return value, position
                value /= part
            elif not sign and self.text.startswith("\\frac", position) and value.denominator == 1 and 0 <= part < 1:
                value = value + part if value >= 0 else value - part  # 2\frac{1}{2}
            else:
                value *= part
            position = end

    def _implied(self, position: int) -> int:
        """The start of a factor that follows without a sign: ``2π``, ``3\\sqrt{2}``, ``2(3 + 4)``, ``3!2!``."""
        if self.text[position - 1 : position] in ("!", FACTORIAL) and self.text[position : position + 1].isdecimal():
            return position
        position = _after(_SPACES, self.text, position)
        if self.text.startswith(("\\frac", "\\sqrt", "√", "π", "("), position):
            return position
        raise _NoMathematicsError

    def power(self, position: int) -> tuple[Value, int]:
        sign = _LEADING_SIGN.match(self.text, position)
        if sign:
            value, end = self._deeper(self.power, sign.end())
            return (value if sign.group(1) == "+" or value is None else -value), end
        value, end = self.atom(position)
        caret = _after(_SPACES, self.text, end)
        if self.text.startswith("^", caret):
            exponent, end = self.exponent(_after(_SPACES, self.text, caret + 1))
            value = power_of(value, exponent)
        return value, end

    def exponent(self, position: int) -> tuple[Value, int]:
        if self.text.startswith(("{", "("), position):
            return self._enclosed(position)
        return self._deeper(self.power, position)

    def atom(self, position: int) -> tuple[Value, int]:
        text = self.text
        if position > self.stop:
            raise _NoMathematicsError
        if text.startswith(("(", "{"), position):
            return self._enclosed(position)
        if text.startswith("π", position):
            return None, position + 1
        if text.startswith("\\frac", position):
            top, end = self._argument(position + 5)
            bottom, end = self._argument(end)
            if bottom == 0:
                raise _NoMathematicsError
            return (None if top is None or bottom is None else top / bottom), end
        if root := _ROOT.match(text, position):
            return self._root(root.end())
        number = self.read(text, position)
        if number is None or number[1] - position > 40:
            raise _NoMathematicsError
        value, end = Fraction(number[0]), number[1]
        if text.startswith(("!", FACTORIAL), end) and value.denominator == 1 and 0 <= value <= _LARGEST_FACTORIAL:
            return Fraction(math.factorial(int(value))), end + 1
        return value, end

    def _root(self, position: int) -> tuple[Value, int]:
        degree: Value = Fraction(2)
        position = _after(_SPACES, self.text, position)
        if self.text.startswith("[", position):
            degree, position = self._deeper(self.sum, position + 1)
            if not self.text.startswith("]", position) or degree is None or degree.denominator > 1:
                raise _NoMathematicsError
            position += 1
        assert degree is not None
        value, end = self._argument(position)
        return root_of(value, int(degree)), end

    def _argument(self, position: int) -> tuple[Value, int]:
        """What a command takes: a group in braces or brackets, a number after a root sign, or a single digit."""
        position = _after(_SPACES, self.text, position)
        if self.text.startswith(("{", "("), position):
            return self._enclosed(position)
        if self.text[position - 1 : position] == "√":
            return self._deeper(self.atom, position)
        if self.text[position : position + 1].isdecimal():
            return Fraction(int(self.text[position])), position + 1
        if self.text.startswith("π", position):
            return None, position + 1
        raise _NoMathematicsError

    def _enclosed(self, position: int) -> tuple[Value, int]:
        closing = {"(": ")", "{": "}"}[self.text[position]]
        value, end = self._deeper(self.sum, _after(_SPACES, self.text, position + 1))
        end = _after(_SPACES, self.text, end)
        if not self.text.startswith(closing, end):
            raise _NoMathematicsError
        return value, end + 1

    def _deeper(self, part: Callable[[int], tuple[Value, int]], position: int) -> tuple[Value, int]:
        if self.depth >= _DEEPEST:
            raise _NoMathematicsError
        self.depth += 1
        try:
            return part(position)
        finally:
            self.depth -= 1
