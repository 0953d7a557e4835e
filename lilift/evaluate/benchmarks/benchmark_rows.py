"""Makes the rows of benchmarks: the question as the model reads it, its right answer, its labels and choices.

A row has the same id in every language: its number in the file, counted from 0, or the id that the benchmark gives it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lilift.recipe.errors import DataError

RESTORE = "restore the file from its source"
NLI_LABELS = ("Entailment", "Neutral", "Contradiction")  # in the order of XNLI's numbers
TOPICS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")  # of SIB-200
LETTERS = ("A", "B", "C", "D", "E")
LEAST_FRACTION = Decimal("0.01")
"""PolyMath's gold answers nearer to 0 than this are left out: an answer counts as right if it is within 0.001 of the gold."""

_ASKS_RELATION = "How does the hypothesis relate to the premise? Answer with one word: Entailment, Neutral or Contradiction."
_ASKS_TOPIC = "What is the topic of the text? Answer with one of these topics:"
_TEXT = "Text: "
_ASKS_LETTER = "Which choice is best? Answer with its letter:"
_GOLD = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")
_LATEX_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LATEX_FRACTION = re.compile(r"(?P<sign>-?)\\[dt]?frac\s*\{\s*(?P<top>-?\d+)\s*\}\s*\{\s*(?P<bottom>[1-9]\d*)\s*\}")


@dataclass(frozen=True)
class Row:
    """One row of a benchmark.

    Attributes:
        id: the same in every language.
        text: the question, with its choices and with what the model shall answer if that is a label.
        gold: the right answer: a number, or one of `labels`; None if it is neither, so that lilift cannot judge a response.
        labels: the possible answers, if the answer is not a number.
        choices: the text of each label's choice, if labels are letters.
    """

    id: str
    text: str
    gold: Decimal | str | None
    labels: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def number_row(where: str, id: str, text: object, gold: object) -> Row:
    """A row whose answer is a number.

    Raises:
        DataError: the question is empty, or the gold answer is not a number.
    """
    # JSON's 1E5 is 100000; a number of a thousand digits is none of a benchmark.
    is_exact = isinstance(gold, Decimal) and gold.is_finite() and abs(gold.adjusted()) < 1000
    written = f"{gold:f}" if is_exact else str(gold).strip()
    if _GOLD.fullmatch(written) is None:
        raise DataError(f"the gold answer {written[:40]!r} is not a number", where=where, remedy=RESTORE)
    return Row(id, _asked(where, text), Decimal(written.replace(",", "")))


def latex_row(where: str, id: str, text: object, gold: object) -> Row:
    """A row of PolyMath, whose answer is a number or any other LaTeX; its gold is None if it is not a number.

    Raises:
        DataError: the question or the gold answer is empty.
    """
    if gold is None or not str(gold).strip():
        raise DataError("the row has no answer", where=where, remedy=RESTORE)
    number = re.search(r"\d+$", id)  # low-sw-0: level, language and number
    return Row(number.group() if number else id, _asked(where, text), latex_number(str(gold)))


def latex_number(gold: str) -> Decimal | None:
    """The number that ``$-85$``, ``0.65`` or ``$\\frac{13}{24}$`` means; None for roots, intervals, formulas and the like.

    None also for a number other than 0 that is nearer to 0 than `LEAST_FRACTION`.
    """
    written = gold.strip().strip("$").strip()
    value: Decimal | None = None
    if _LATEX_NUMBER.fullmatch(written):
        value = Decimal(written)
    elif fraction := _LATEX_FRACTION.fullmatch(written):
        value = Decimal(fraction["top"]) / Decimal(fraction["bottom"]) * (-1 if fraction["sign"] else 1)
    return None if value is not None and 0 < abs(value) < LEAST_FRACTION else value


def nli_row(where: str, id: str, premise: object, hypothesis: object, gold: object) -> Row:
    """A row of XNLI; `gold` is a label's name or its number from 0.

    Raises:
        DataError: a sentence is empty, or the label unknown.
    """
    names = {label.lower(): label for label in NLI_LABELS} | {str(number): label for number, label in enumerate(NLI_LABELS)}
    label = names.get(str(gold).strip().lower())
    if label is None:
        raise DataError(f"the label {str(gold)[:40]!r} is not one of XNLI's three labels", where=where, remedy=RESTORE)
    text = f"Premise: {_asked(where, premise)}\nHypothesis: {_asked(where, hypothesis)}\n{_ASKS_RELATION}"
    return Row(id, text, label, NLI_LABELS)


def topic_row(where: str, id: str, text: object, gold: object) -> Row:
    """A row of SIB-200: a sentence and its topic.

    Raises:
        DataError: the sentence is empty, or the topic unknown.
    """
    topic = str(gold or "").strip()
    if topic not in TOPICS:
        raise DataError(f"the topic {topic[:40]!r} is not one of SIB-200's seven topics", where=where, remedy=RESTORE)
    return Row(id, f"{_TEXT}{_asked(where, text)}\n{_ASKS_TOPIC} {_listed(TOPICS)}.", topic, TOPICS)


def choice_row(where: str, id: str, stem: object, choices: Mapping[str, str], gold: object) -> Row:
    """A row of X-CSQA.

    Args:
        where: file and row, for errors.
        id: id of the row.
        stem: the question.
        choices: text of each choice by its letter.
        gold: the right letter.

    Raises:
        DataError: a part is missing; for example, X-CSQA's authors do not publish the answers of the test split.
    """
    if tuple(choices) != LETTERS:
        raise DataError("the choices are not A to E, each with a text", where=where, remedy=RESTORE)
    if not gold:
        raise DataError(
            "the row has no answer, because X-CSQA's authors do not publish the answers of the test split",
            where=where,
            remedy="use the development split (dev.jsonl)",
        )
    return lettered_row(where, id, _asked(where, stem), list(choices.values()), gold)


def lettered_row(where: str, id: str, question: str, choices: Sequence[object], gold: object) -> Row:
    """A row with choices, of which the model names one by its letter: A for the first.

    Raises:
        DataError: a choice has no text, or the gold answer is not one of the letters.
    """
    letters = LETTERS[: len(choices)]
    texts = tuple(text.strip() for text in choices if isinstance(text, str) and text.strip())
    if len(texts) < len(choices):
        raise DataError(f"the choices are not A to {letters[-1]}, each with a text", where=where, remedy=RESTORE)
    if gold in (None, ""):
        raise DataError("the row has no answer", where=where, remedy=RESTORE)
    if gold not in letters:
        raise DataError(f"the answer {str(gold)[:40]!r} is not a letter from A to {letters[-1]}", where=where, remedy=RESTORE)
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True))
    return Row(id, f"{question}\n{listed}\n{_ASKS_LETTER} {_listed(letters)}.", str(gold), letters, texts)


def without_instruction(text: str) -> str:
    """A question without the last line that lilift adds to it, which is the same for every row of a benchmark."""
    return without_last_line(text, (_ASKS_RELATION, _ASKS_TOPIC, _ASKS_LETTER))


def without_last_line(text: str, beginnings: tuple[str, ...]) -> str:
    """A text without its last line, if that begins in one of these ways."""
    before, _, last = text.rpartition("\n")
    return before if last.startswith(beginnings) else text


def bare_question(text: str) -> str:
    """A question without what lilift adds to it: its last line, and the word before the text of SIB-200."""
    bare = without_instruction(text)
    return bare.removeprefix(_TEXT) if _ASKS_TOPIC in text else bare


def choices_of(question: Mapping[str, Any]) -> dict[str, str]:
    """Letters and texts of X-CSQA's choices: a list of pairs in the authors' files, two lists in the files of the hub."""
    choices = question.get("choices")
    if isinstance(choices, Mapping):
        choices = [{"label": label, "text": text} for label, text in zip(choices["label"], choices["text"], strict=True)]
    return {str(choice["label"]): choice["text"] for choice in choices or [] if isinstance(choice, Mapping)}


def row_of_columns(where: str, id: str, row: Mapping[str, Any]) -> Row:
    """A row of the hub, of JSON lines or of a table, in the format that its columns show.

    Raises:
        DataError: a part of the row is missing, empty or unknown.
    """
    if "premise" in row:
        return nli_row(where, id, row["premise"], row.get("hypothesis"), row.get("label"))
    if "answerKey" in row:
        question = row.get("question") or {}
        return choice_row(where, str(row.get("id") or id), question.get("stem"), choices_of(question), row["answerKey"])
    if "m_query" in row:
        return number_row(where, id, row["m_query"], row.get("response"))
    if "flores_passage" in row:
        return _passage_row(where, row)
    if "option_a" in row:
        options = [row.get(f"option_{letter}") for letter in "abcd"]
        return lettered_row(
            where, str(row.get("sample_id") or id), _asked(where, row.get("question")), options, row.get("answer")
        )
    if "category" in row:
        return topic_row(where, str(row.get("index_id") or id), row.get("text"), row["category"])
    if "answer_number" in row:
        return number_row(where, id, row.get("question"), row["answer_number"])
    return latex_row(where, str(row.get("id") or id), row.get("question"), row.get("answer"))


def _passage_row(where: str, row: Mapping[str, Any]) -> Row:
    """A row of Belebele: a passage, a question on it and four choices; the answer is a choice's number from 1."""
    given = str(row.get("correct_answer_num") or "").strip()
    if given and given not in ("1", "2", "3", "4"):
        raise DataError(f"the answer {given[:40]!r} is not a number from 1 to 4", where=where, remedy=RESTORE)
    question = f"Passage: {_asked(where, row['flores_passage'])}\nQuestion: {_asked(where, row.get('question'))}"
    choices = [row.get(f"mc_answer{number}") for number in range(1, 5)]
    id = f"{row.get('link')}#{row.get('question_number')}"
    return lettered_row(where, id, question, choices, LETTERS[int(given) - 1] if given else None)


def _asked(where: str, text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise DataError("the question is empty", where=where, remedy=RESTORE)
    return text.strip()


def _listed(labels: Sequence[str]) -> str:
    return f"{', '.join(labels[:-1])} or {labels[-1]}"
