"""Reads the number at each place where a response announces its answer: a mark, a box, a sentence, a label or a heading."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from lilift.evaluate.answers.mathematics import IRRATIONAL
from lilift.evaluate.answers.number_composition import Number
from lilift.evaluate.answers.number_formats import value_of_expression
from lilift.evaluate.answers.responses.answer_statements import Statement
from lilift.evaluate.answers.responses.closing_remarks import without_closing_remarks
from lilift.evaluate.answers.responses.explanations import gives_reason
from lilift.evaluate.answers.responses.response_labels import ResponseLabel

_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。।॥؟።၊။។۔\n]")
_GAP_END = re.compile(rf"{_SENTENCE_END.pattern}|[,;]\s")
_OPERATOR = re.compile(r"[-+–×*·÷/=≈]|\b(?:minus|plus|times|(?:divided|multiplied) by)\b")
_UNIT_BETWEEN = re.compile(r" [^\W\d_]{1,12} ")  # 1 hour 30 minutes = 90 minutes
_UNIT_AND_EQUALS = re.compile(r" [^\W\d_]{1,12} =")
_OUTCOME = re.compile(r"[^=\n.]{0,16}, (?:which (?:is|equals|makes|gives)|or) \$?")
_ABBREVIATION = re.compile(r"\b(?:rs|ksh|tsh|sh|kč|kr|ca|approx|no|nr|fr|руб|грн|тг|us|lei|mr|mrs|dr|st)\.", re.IGNORECASE)
_MARK = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)")
_BOX = re.compile(r"\\boxed\s*(?:\{|(?=\d))")
_TAG = re.compile(r"<(?:final[_ -]?)?answer>(.{0,200}?)</(?:final[_ -]?)?answer>", re.DOTALL | re.IGNORECASE)
_LONGEST_BOX = 400
# What may stand between a label and its number: marks, a currency, a variable that is defined (x =).
_DIRECT = re.compile(
    r"[\W_]*(?:(?:rs|us|r|ksh|tsh|usd|eur|kes|tzs|inr|≈|[a-z]\w?\s*=|[^\W\d_]{1,12}\s*=)[\W_]*)?", re.IGNORECASE
)
_UNIT = re.compile(r"[\s*_]*(?:[^\W\d_]|[%°$€£¥₹²³/^'’\-.\s*_!]|\u094d|[\u0900-\u0dff]){0,40}[\s*_.!#]*")
_ENUMERATION = re.compile(r"[.):]\s+(?=[^\W\d_])")
_VARIABLE = re.compile(r"\s*[*·]?\s*(?:[xyzn](?![^\W_])|\\(?!boxed|frac|sqrt)[A-Za-z])")
_UNKNOWN_COMMAND = re.compile(r"\\(?!boxed|frac|sqrt)[A-Za-z]+|(?<![^\W_])(?:[xyzn])(?:\s?[\^+*/-]|(?=\s*$))")
_EQUALS = re.compile(r"=|≈|\\implies|\\Rightarrow")
_PIECES = re.compile(r",(?!\d)|;|\bor\b|\band\b|\n")
_PI = re.compile(r"[\s$({*]*(?:π|√\s?π)")
_THEREFORE = re.compile(
    r"\s*(?:so|therefore|thus|hence|also|deshalb|donc|entonces|por tanto|поэтому|所以|因此|したがって|hivyo|kwa hivyo)\b", re.I
)
_CHOICE_B = re.compile(r"\bb\s*[:=]")
_ASIDE = re.compile(r"\s*\(")


class AnswerPlaces:
    """The announcements of one response, and the numbers at them.

    Args:
        text: the first answer of a response, as `lilift.evaluate.answers.plain_text.plain_text` gives it.
        low: the same in lower case.
        language: code of the language of the question.
        numbers: the numbers of the text, in order.
        labels: its labels.
        statements: its sentences that announce an answer.
    """

    def __init__(
        self,
        text: str,
        low: str,
        language: str,
        numbers: Sequence[Number],
        labels: Sequence[ResponseLabel],
        statements: Sequence[Statement],
    ) -> None:
        self.text, self.low, self.language, self.numbers = text, low, language, numbers
        self.labels, self.statements = labels, statements
        self.first_question = next((label.start for label in labels if label.phrase == "q"), len(text))

    def last(self) -> Decimal | None:
        """The value at the last place that announces a number; NaN if it is irrational, None without such a place."""
        places: list[tuple[int, Literal["mark", "box", "tag", "label", "statement"], object]] = []
        if "####" in self.text:
            places += [(match.start(), "mark", match) for match in _MARK.finditer(self.text)]
        if "\\boxed" in self.text:
            places += [(match.start(), "box", match) for match in _BOX.finditer(self.text)]
        if "</" in self.low:
            places += [(match.start(), "tag", match) for match in _TAG.finditer(self.text)]
        places += [(label.end, "label", label) for label in self.labels if label.kind == "answer" and self._is_label(label)]
        places += [(one.start if one.before else one.end, "statement", one) for one in self.statements]
        if len(places) > 1:
            places.sort(key=lambda place: place[0], reverse=True)
        for _, _, place in places:
            if isinstance(place, ResponseLabel):
                value = self._at_label(place)
            elif isinstance(place, Statement):
                value = self._in_statement(place)
            else:
                assert isinstance(place, re.Match)
                value = (
                    self._on_mark(place)
                    if place.re is _MARK
                    else self._in_box(place)
                    if place.re is _BOX
                    else self._in_tag(place)
                )
            if value is not None:
                return value
        return None

    def _from(self, position: int, end: int | None = None) -> Sequence[Number]:
        numbers = self.numbers
        first = bisect_left(numbers, position, key=lambda number: number.start)
        last = len(numbers) if end is None else bisect_left(numbers, end, key=lambda number: number.start)
        return numbers[first:last]

    def _is_label(self, label: ResponseLabel) -> bool:
        if label.phrase != "a":
            return True
        # "A:" is an answer after "Q:", but a choice, a person or a variable elsewhere.
        if self.low[label.end - 1] == "=":
            return False
        if label.start > _after_spaces(self.low, 0):
            return self.first_question < label.start
        return not _CHOICE_B.search(self.low)

    def _on_mark(self, mark: re.Match[str]) -> Decimal | None:
        """The number of a line ``#### 18``; None if the line holds more than an answer, such as the heading ``#### 2. Add``."""
        begin, end = mark.span(1)
        if not mark.group(1).strip(" *_#"):
            begin = _after_spaces(self.text, end)
            end = self.text.find("\n", begin) if "\n" in self.text[begin:] else len(self.text)
        on_line = self._from(begin, end)
        if not on_line or not _DIRECT.fullmatch(self.text, begin, on_line[0].start):
            return _irrational_at(self.text, begin)
        number = _end_of_working(self.text, on_line)
        rest = self.text[number.end : end]
        if number is not on_line[-1] or _ENUMERATION.match(rest) or not _UNIT.fullmatch(rest) or len(rest.split()) > 4:
            return None
        word = rest.strip(" *_.")[:1]
        if word.isupper() and rest[:1] == " " and self.text[end:].strip():
            return None  # a heading such as "2 Shops", unless the response ends with it
        return number.value

    def _in_box(self, box: re.Match[str]) -> Decimal | None:
        """The number in ``\\boxed{…}``: the value of its arithmetic, the right side of an equation, or its first number."""
        begin = box.end()
        end = _closing_brace(self.text, begin) if box.group().endswith("{") else len(self.text)
        if end == len(self.text) and not box.group().endswith("{"):
            end = next((number.end for number in self._from(begin)), begin)
        inside = self._from(begin, end)
        content = self.text[begin:end]
        piece = _PIECES.split(content, maxsplit=1)[0]
        sides = [side for side in _EQUALS.split(piece) if side.strip()]
        for side in reversed(sides):
            stripped = side.strip().lstrip("$€£¥₹").rstrip(" .$€£¥₹%°")
            found = value_of_expression(stripped, self.language)
            rest = stripped[found[1] :] if found else ""
            if found and (not rest.strip("{} ") or (found[0].is_nan() and not any(map(str.isdigit, rest)))):
                return found[0]
            if found and _VARIABLE.match(rest):
                return IRRATIONAL
            if found:
                break
        if inside and _UNKNOWN_COMMAND.search(piece) and not (len(sides) > 1 and re.search(r"\d", sides[-1])):
            return IRRATIONAL
        return _end_of_working(self.text, inside).value if inside else None

    def _in_tag(self, tag: re.Match[str]) -> Decimal | None:
        """The number in ``<answer>…</answer>``: the last one, because a sentence ends in its result."""
        inside = [number for number in self._from(*tag.span(1)) if not number.vague]
        return inside[-1].value if inside else None

    def _in_statement(self, statement: Statement) -> Decimal | None:
        if statement.before:
            before = [number for number in self._from(max(0, statement.start - 60), statement.start) if not number.vague]
            if before and not _SENTENCE_END.search(self.text, before[-1].end, statement.start):
                return before[-1].value
            return None
        position = statement.end
        following = self._from(position)
        if following and _has_letter(self.text, position, following[0].start):
            following = [number for number in following[:20] if not number.vague]
        if _PI.match(self.text, position):
            return self._approximation(following) or IRRATIONAL
        if not following:
            return None
        gap = self.text[position : following[0].start]
        if any(map(str.isalpha, gap)):
            words = _ABBREVIATION.sub("", gap).strip()
            if statement.at_once or _SENTENCE_END.search(words) or words.split()[:1] in (["not"], ["no"]):
                return None
        return _end_of_working(self.text, following).value

    def _approximation(self, following: Sequence[Number]) -> Decimal | None:
        """The number after ``≈`` where the answer itself is a multiple of π."""
        if following and self.text[: following[0].start].rstrip(" $").endswith("≈"):
            return following[0].value
        return None

    def _at_label(self, label: ResponseLabel) -> Decimal | None:
        """The number right after a label, or the result of the sentence after it if the response has worked before."""
        position = label.end
        following = self._from(position)
        if _PI.match(self.text, position):
            return self._approximation(following) or IRRATIONAL
        if not following:
            return None
        first = following[0]
        if _DIRECT.fullmatch(self.text, position, first.start):
            listed = first.value == 1 and "\n" in self.text[position : first.start]
            if listed and _ENUMERATION.match(self.text, first.end):
                return None  # a list of steps
            if listed and len(following) == 2 and re.fullmatch(r"[.)]\s+[$€£*_]*", self.text[first.end : following[1].start]):
                return following[1].value  # a list of one answer
            return _end_of_working(self.text, following).value
        if label.start <= 0 or not self._from(0, label.start):
            return None  # the whole response is the answer to be read
        return self._result_of_paragraph(position)

    def _result_of_paragraph(self, position: int) -> Decimal | None:
        """The result of the sentence after a label: its last number, or that of an equation or a conclusion after it."""
        begin = _after_spaces(self.text, position)
        paragraph = self.text.find("\n\n", begin)
        end = paragraph if paragraph >= 0 else len(self.text)
        numbers = [number for number in self._from(begin, end) if not number.vague]
        if not numbers:
            return None
        closing = without_closing_remarks(self.low[:end], numbers[0].end) if end - begin < 2000 else end
        result, concluded = numbers[0], False
        for before, number in pairwise(numbers):
            if number.start >= closing:
                break
            gap = self.text[before.end : number.start]
            sentence_end = _SENTENCE_END.search(_ABBREVIATION.sub("", gap))
            if sentence_end:
                concluded = concluded or ("=" not in gap and not _THEREFORE.match(gap, sentence_end.end()))
            if "=" in gap:
                concluded = False
            if "=" not in gap and (_ASIDE.match(gap) or gives_reason(self.low, before, number)):
                concluded = True
            if concluded:
                continue
            result = number
        return result.value


def _end_of_working(text: str, numbers: Sequence[Number]) -> Number:
    """The number itself, or the result of a calculation that starts with it: 18 for ``10 + 8 = 18``."""
    result = numbers[0]
    worked = False
    for before, number in pairwise(numbers):
        if number.start - before.end > 60:
            break
        gap = text[before.end : number.start]
        if worked and _OUTCOME.fullmatch(gap):
            result = number
            break
        worked = _OPERATOR.search(gap) is not None and "=" not in gap
        if _UNIT_BETWEEN.fullmatch(gap) and _UNIT_AND_EQUALS.match(text, number.end):
            continue
        if _GAP_END.search(gap) or len(gap.split()) > 4 or not _OPERATOR.search(gap):
            break
        if "=" in gap or ("≈" in gap and result.value.is_nan()):
            result = number
    return result


def _has_letter(text: str, begin: int, end: int) -> bool:
    return end > begin and any(map(str.isalpha, text[begin : min(end, begin + 200)]))


def _after_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _closing_brace(text: str, begin: int) -> int:
    """The brace that closes a group; the end of its line if none does."""
    depth = 1
    stop = min(len(text), begin + _LONGEST_BOX)
    for position in range(begin, stop):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
    line = text.find("\n", begin)
    return line if 0 <= line < stop else stop


def _irrational_at(text: str, position: int) -> Decimal | None:
    return IRRATIONAL if _PI.match(text, position) else None
