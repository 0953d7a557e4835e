"""Which columns of an instruction data set hold question, response and answer."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.recipe.errors import DataError
from lilift.recipe.schema import ColumnSettings

# Layouts in the order in which they are tried: name, question, response.  The first whose columns are all there is taken.
_LAYOUTS = (
    ("metamath", "query", "response"),
    ("alpaca", "instruction", "output"),
    ("prompt/response", "prompt", "response"),
    ("prompt/completion", "prompt", "completion"),
    ("question/response", "question", "response"),
    ("instruction/response", "instruction", "response"),
    ("problem/solution", "problem", "solution"),
    ("question/answer", "question", "answer"),
)
_CONVERSATIONS = ("conversations", "messages", "conversation")
_ASKED_BY = frozenset(["human", "user"])
_ANSWERED_BY = frozenset(["gpt", "assistant", "model", "chatgpt", "bing", "bard"])
_ANSWERS = ("answer", "final_answer", "expected_answer")

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_GSM8K_FINAL = re.compile(r"\s*^#### *(?P<answer>.+?)\s*\Z", re.MULTILINE)
_METAMATH_FINAL = re.compile(r"The answer is:? *(?P<answer>[^\n]+?)\.?\s*\Z")


@dataclass(frozen=True)
class Columns:
    """How a row's texts are found.

    Attributes:
        layout: the recognised layout's name.
        question: column of the instruction; of the whole conversation in ``sharegpt``.
        response: column of the response.
        answer: column of the bare answer, if there is one.
        context: column that is added to the question where it is not empty (alpaca's ``input``).
    """

    layout: str
    question: str
    response: str
    answer: str | None = None
    context: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Role → column, for the report."""
        roles = {"question": self.question, "context": self.context, "response": self.response, "answer": self.answer}
        return {role: column for role, column in roles.items() if column is not None}

    def texts(self, row: Mapping[str, Any]) -> tuple[str, str, str | None]:
        """Question, response and bare answer of a row; empty where the row has none.

        GSM8K's marks for a calculator go, and its last line ``#### 42`` becomes the sentence ``The answer is 42.``, so that the
        response ends with its answer.
        """
        if self.layout == "sharegpt":
            question, response = _first_exchange(row[self.question])
        else:
            question, response = _text(row[self.question]), _text(row[self.response])
        context = _text(row[self.context]).strip() if self.context is not None else ""
        if context:
            question = f"{question.strip()}\n\n{context}"
        response, final = clean_response(response)
        answer = _text(row[self.answer]).strip() if self.answer is not None else ""
        return question, response, answer or final


def clean_response(response: str) -> tuple[str, str | None]:
    """A response without GSM8K's marks, and the bare answer that it ends with, if it says so; see `Columns.texts`."""
    response = _CALCULATOR.sub("", response)
    final = _GSM8K_FINAL.search(response)
    if final:
        response = f"{response[: final.start()]}\nThe answer is {final['answer']}."
    final = final or _METAMATH_FINAL.search(response)
    return response, final["answer"] if final else None


def recognise_columns(names: Sequence[str], first: Mapping[str, Any], wanted: ColumnSettings | None, source: str) -> Columns:
    """Find out which column is what.

    Args:
        names: the columns of the data set.
        first: its first row.
        wanted: the columns that the recipe names, if it does.
        source: names the data set in errors.

    Raises:
        DataError: a named column is missing, or none are named and no known layout fits.
    """
    if wanted is not None:
        for column in (wanted.question, wanted.response, *([wanted.answer] if wanted.answer else [])):
            _require(column, names, source)
        return Columns("named in the recipe", wanted.question, wanted.response, wanted.answer)
    for column in _CONVERSATIONS:
        if column in names and isinstance(first[column], list):
            return Columns("sharegpt", column, column)
    for layout, question, response in _LAYOUTS:
        if question in names and response in names:
            is_gsm8k = layout == "question/answer" and _GSM8K_FINAL.search(_text(first[response])) is not None
            answer = next((name for name in _ANSWERS if name in names and name != response), None)
            context = "input" if layout == "alpaca" and "input" in names else None
            return Columns("gsm8k" if is_gsm8k else layout, question, response, answer, context)
    raise DataError(
        f"cannot tell question from response among the columns {', '.join(names)}",
        where=source,
        remedy="name them with data.instructions.columns: {question: …, response: …}",
    )


def _require(column: str, names: Sequence[str], source: str) -> None:
    if column not in names:
        close = difflib.get_close_matches(column, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise DataError(
            f"there is no column {column!r}{hint}",
            where=source,
            remedy=f"data.instructions.columns: choose from {', '.join(names)}",
        )


def _text(value: Any) -> str:
    """A cell as text; empty where there is none, or something that is no text (a list, a mapping)."""
    return "" if value is None or isinstance(value, (list, Mapping)) else str(value)


def _first_exchange(turns: Any) -> tuple[str, str]:
    """The first question of a conversation and the answer right after it; two empty texts if there is none."""
    spoken = [
        (_text(turn.get("from") or turn.get("role")), _text(turn.get("value") or turn.get("content"))) for turn in turns or ()
    ]
    for (asker, question), (answerer, response) in itertools.pairwise(spoken):
        if asker in _ASKED_BY and answerer in _ANSWERED_BY:
            return question, response
    return "", ""
