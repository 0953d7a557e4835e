"""Extracts the final number of a response, and compares it with the gold answer.

A response may be in any language, script and number format. The extraction never looks at the gold answer. A response without a
number has no answer: it counts as missing, not as 0.

Answer phrases: those of the MGSM exemplars (Shi et al. 2022, arXiv:2210.03057), of MetaMath and of GSM8K responses.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise

from lilift.evaluate.answers.number_formats import Number, find_numbers
from lilift.evaluate.answers.number_words import answer_words
from lilift.evaluate.answers.plain_text import plain_text

TOLERANCE = Decimal("0.001")  # from the paper: an answer is right if it differs from the gold answer by less than this

# A statement of the answer: the answer is the first number in the rest of its sentence.
_STATEMENTS = re.compile(
    r"\banswer\W{0,4}(?:is|was|will be|equals|would be)\b|答案[是为為]|答えは|คำตอบคือ|\bjibu ni\b|উত্তর (?:হল|হলো)|उत्तर है"
    r"|\bantwort (?:ist|lautet)\b|\bréponse est\b|\brespuesta es\b|\brisposta è\b|\bresposta é\b"
    r"|\bответ(?: равен|:| —| –| -)|సమాధానం",
    re.IGNORECASE,
)
# A label before the answer: the number must follow directly.
_LABELS = re.compile(rf"####|(?<!\w)(?:{'|'.join(answer_words())})\W{{0,3}}[:=：]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。।॥؟\n]")
_OPERATOR = re.compile(r"[-+−–×*·÷/=]|\\times|\\div|\\cdot")


def extract_number(text: str, language: str) -> Decimal | None:
    """The final number of a response, or None if it has none.

    This is the number after the last ``####``, ``\\boxed{…}``, "the answer is" or "answer:" (in several languages). Without any
    of these, it is the last number. Fractions are divided, and ``25%`` is 25. Thousand separators and native digits are
    understood.

    Args:
        text: a whole response.
        language: code of the language of the question; its number format decides where the text is ambiguous.
    """
    text = plain_text(text)
    numbers = find_numbers(text, language)
    if not numbers:
        return None
    announced = _announced(text, numbers)
    if announced is not None:
        return announced
    clear = [number for number in numbers if not number.vague]
    return (clear or numbers)[-1].value


def correct(extracted: Decimal | None, gold: Decimal) -> bool:
    """Whether there is an answer and it differs from the gold answer by less than 0.001."""
    return extracted is not None and abs(extracted - gold) < TOLERANCE


def _announced(text: str, numbers: list[Number]) -> Decimal | None:
    """The number that the text itself calls its answer; the last one if there are several."""
    places = [(match.end(), False) for match in _STATEMENTS.finditer(text)]
    places += [(match.end(), True) for match in _LABELS.finditer(text)]
    places += [(match.end(), False) for match in re.finditer(r"\\boxed\s*\{", text)]
    for position, at_once in sorted(places, reverse=True):
        following = [number for number in numbers if number.start >= position]
        if following and any(character.isalpha() for character in text[position : following[0].start]):
            following = [number for number in following if not number.vague]
        if not following:
            continue
        gap = text[position : following[0].start]
        if any(character.isalpha() for character in gap) and (at_once or _SENTENCE_END.search(gap.strip())):
            continue
        return _end_of_working(text, following).value
    return None


def _end_of_working(text: str, numbers: list[Number]) -> Number:
    """The number itself, or the result of a calculation that starts with it: 18 for ``10 + 8 = 18``."""
    result = numbers[0]
    for before, number in pairwise(numbers):
        gap = text[before.end : number.start]
        if _SENTENCE_END.search(gap) or len(gap.split()) > 4:
            break
        if not _OPERATOR.search(gap):
            break
        if "=" in gap:
            result = number
    return result
