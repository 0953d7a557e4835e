"""Extracts the final number of a response, and compares it with the gold answer.

A response may be in any language, script and number format. The extraction never looks at the gold answer. A response without a
number has no answer: it counts as missing, not as 0. So does a response whose answer no decimal number equals, such as ``5√2``.

Answer phrases: those of the MGSM exemplars (Shi et al. 2022, arXiv:2210.03057), of MetaMath and of GSM8K responses.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

from lilift.evaluate.answers.number_composition import Number
from lilift.evaluate.answers.number_formats import find_numbers
from lilift.evaluate.answers.plain_text import plain_text
from lilift.evaluate.answers.responses.answer_places import AnswerPlaces
from lilift.evaluate.answers.responses.answer_statements import find_statements
from lilift.evaluate.answers.responses.closing_remarks import without_closing_remarks
from lilift.evaluate.answers.responses.explanations import answer_before_explanation, number_before_reason
from lilift.evaluate.answers.responses.response_labels import find_labels, lowered
from lilift.evaluate.answers.responses.run_on import first_answer

TOLERANCE = Decimal("0.001")  # from the paper: an answer is right if it differs from the gold answer by less than this

# What may be a number: digits (ASCII by now), Chinese and Ethiopic numerals, π
_NUMBER = re.compile(r"[\d〇零一二三四五六七八九十百千万萬亿億两兩壹贰叁肆伍陆陸柒捌玖拾佰仟壱弐貳参叄參廿卅\u1369-\u137cπ]")


def extract_number(text: str, language: str) -> Decimal | None:
    """The final number of a response, or None if it has none.

    This is the number after the last ``####``, ``\\boxed{…}``, "the answer is", "answer:" or heading "Answer" (in many
    languages). Without any of these, it is the last number before the closing remarks. The response ends where a new question
    begins. Fractions, powers and roots are computed, and ``25%`` is 25. Thousand separators and native digits are understood.

    Args:
        text: a whole response.
        language: code of the language of the question; its number format decides where the text is ambiguous.
    """
    text = plain_text(text)
    if not _NUMBER.search(text):
        return None
    low = lowered(text)
    labels, statements = find_labels(low), find_statements(low)
    announced = statements[0].start if statements else len(text)
    start, end = first_answer(text, low, labels, announced, _NUMBER.search)
    if end - start < len(text):
        text, low = text[start:end], low[start:end]
        labels, statements = find_labels(low), find_statements(low)
    numbers = find_numbers(text, language)
    found = None
    if labels or statements or "####" in text or "\\boxed" in text or "nswer>" in text:
        found = AnswerPlaces(text, low, language, numbers, labels, statements).last()
    if found is None:
        found = _last_number(text, low, numbers)
    return None if found is None or found.is_nan() else found


def correct(extracted: Decimal | None, gold: Decimal) -> bool:
    """Whether there is an answer and it differs from the gold answer by less than 0.001."""
    return extracted is not None and abs(extracted - gold) < TOLERANCE


def _last_number(text: str, low: str, numbers: Sequence[Number]) -> Decimal | None:
    if len(numbers) < 2:
        return numbers[0].value if numbers else None
    opening = answer_before_explanation(text, low, numbers)
    if opening is not None:
        return opening.value
    end = without_closing_remarks(low, numbers[0].end)
    if end < len(text):
        numbers = numbers[: bisect_right(numbers, end, key=lambda number: number.end)] or numbers
    clear = [number for number in numbers if not number.vague] or numbers
    return (number_before_reason(low, clear) or clear[-1]).value
