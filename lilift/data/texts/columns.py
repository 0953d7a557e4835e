"""Which columns of an instruction data set hold question, response and answer, and which rows they make unusable."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.data.texts.conversations import first_exchange, has_turns, is_conversation
from lilift.data.texts.row_languages import LANGUAGE_COLUMNS, is_english
from lilift.recipe.errors import DataError
from lilift.recipe.names.column_names import UnknownColumns
from lilift.recipe.schema import ColumnSettings

# Layouts in the order in which they are tried: name, question, response. lilift takes the first whose columns are both there,
# but not one that only a few odd rows have.
_LAYOUTS = (
    ("metamath", "query", "response"),
    ("alpaca", "instruction", "output"),
    ("prompt/response", "prompt", "response"),
    ("prompt/completion", "prompt", "completion"),
    ("question/response", "question", "response"),
    ("instruction/response", "instruction", "response"),
    ("problem/solution", "problem", "solution"),
    ("question/solution", "question", "solution"),
    ("problem/generated_solution", "problem", "generated_solution"),
    ("question/generated_solution", "question", "generated_solution"),
    ("problem/response", "problem", "response"),
    ("question/answer", "question", "answer"),
    ("problem/answer", "problem", "answer"),
    ("question/output", "question", "output"),
    ("query/answer", "query", "answer"),
    ("query/output", "query", "output"),
    ("input/output", "input", "output"),
    ("input/target", "input", "target"),
    ("inputs/targets", "inputs", "targets"),
    ("prompt/chosen", "prompt", "chosen"),
    ("question/chosen", "question", "chosen"),
)
_SHARE_OF_LAYOUT = 0.1
"""A layout counts if it is in this share of the rows that have the commonest layout."""
_CONVERSATIONS = ("conversations", "messages", "conversation")
_CONTEXTS = ("input", "context")
_ANSWERS = ("answer", "final_answer", "expected_answer")
_CORRECT = ("is_correct",)
_WRONG = ("false", "0", "0.0", "no", "f", "n")

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_GSM8K_FINAL = re.compile(r"\s*^#### *(?P<answer>.+?)\s*\Z", re.MULTILINE)
_METAMATH_FINAL = re.compile(r"The answer is:? *(?P<answer>[^\n]+?)\.?\s*\Z")


@dataclass(frozen=True)
class Columns:
    """Where a row's texts are.

    Attributes:
        layout: name of the recognised layout.
        question: column of the instruction; of the whole conversation in ``sharegpt``.
        response: column of the response.
        answer: column of the bare answer, if there is one.
        context: column that follows the question where it is not empty (``input`` of alpaca, ``context`` of Dolly).
        language: column with the language of the row; only English rows are used.
        correct: column that says whether the response is right; wrong ones are not used.
    """

    layout: str
    question: str
    response: str
    answer: str | None = None
    context: str | None = None
    language: str | None = None
    correct: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Role → column, for the report."""
        roles = {
            "question": self.question,
            "context": self.context,
            "response": self.response,
            "answer": self.answer,
            "language": self.language,
            "correct": self.correct,
        }
        return {role: column for role, column in roles.items() if column is not None}

    def texts(self, row: Mapping[str, Any]) -> tuple[str, str, str | None]:
        """Question, response and bare answer of a row; empty where the row has none.

        lilift removes GSM8K's calculator marks and turns its last line ``#### 42`` into the sentence ``The answer is 42.``, so
        that the response ends with its answer.

        Raises:
            UnusableRowError: the row is not English, is marked as wrong, or holds something other than texts.
        """
        if self.language is not None and not is_english(row.get(self.language)):
            raise UnusableRowError("not English")
        if self.correct is not None and str(row.get(self.correct)).strip().lower() in _WRONG:
            raise UnusableRowError("marked as wrong")
        question, response = self._exchange(row)
        context = text_of(row.get(self.context), "context").strip() if self.context is not None else ""
        if context:
            question = f"{question.strip()}\n\n{context}"
        response, final = clean_response(response)
        return question, response, self._bare_answer(row) or final

    def _exchange(self, row: Mapping[str, Any]) -> tuple[str, str]:
        if self.layout == "sharegpt":
            return first_exchange(row.get(self.question))
        question, response = row.get(self.question), row.get(self.response)
        if isinstance(question, str) and isinstance(response, str) and not question.startswith("["):
            return text_of(question, "question"), text_of(response, "response")
        if has_turns(question) or (isinstance(response, list) and has_turns(response)):
            return first_exchange(question, response)
        return text_of(question, "question"), text_of(response, "response")

    def _bare_answer(self, row: Mapping[str, Any]) -> str:
        if self.answer is None:
            return ""
        try:
            return text_of(row.get(self.answer), "answer").strip()
        except UnusableRowError:  # a list of answers, say; a row can do without
            return ""


def clean_response(response: str) -> tuple[str, str | None]:
    """A response without GSM8K's marks, and the bare answer with which it ends, if it names one; see `Columns.texts`."""
    if "<<" in response:
        response = _CALCULATOR.sub("", response)
    final = _GSM8K_FINAL.search(response) if "####" in response else None
    if final:
        response = f"{response[: final.start()]}\nThe answer is {final['answer']}."
    elif "The answer is" in response:
        final = _METAMATH_FINAL.search(response)
    return response, final["answer"] if final else None


def find_columns(names: Collection[str], rows: Iterable[Mapping[str, Any]], wanted: ColumnSettings | None) -> Columns | None:
    """Find out which column holds what, or None if these rows do not show it.

    Args:
        names: the columns of the data set, as far as it has been read.
        rows: some of its rows, at least one.
        wanted: the columns that the recipe names, if it does.
    """
    spelled = {**{name.lower(): name for name in names}, **{name: name for name in names}}  # Question is question too

    def first(wanted_names: Iterable[str], *others: str) -> str | None:
        return next((spelled[name] for name in wanted_names if name in spelled and spelled[name] not in others), None)

    language, correct = first(LANGUAGE_COLUMNS), first(_CORRECT)
    if wanted is not None:
        named = [wanted.question, wanted.response, *([wanted.answer] if wanted.answer else [])]
        if not all(column in names for column in named):
            return None
        language, correct = (None if found in named else found for found in (language, correct))
        return Columns(
            "named in the recipe", wanted.question, wanted.response, wanted.answer, language=language, correct=correct
        )
    rows = list(rows)
    chats = [spelled[name] for name in _CONVERSATIONS if name in spelled]
    found: list[tuple[int, Columns]] = []  # how many rows have it
    for chat in chats:
        if count := sum(has_turns(row.get(chat)) for row in rows):
            found.append((count, Columns("sharegpt", chat, chat, language=language, correct=correct)))
    for layout, asked, answered in _LAYOUTS:
        question, response = first([asked]), first([answered])
        if question is not None and response is not None:
            is_gsm8k = layout == "question/answer" and any(_ends_like_gsm8k(row.get(response)) for row in rows)
            context = first(_CONTEXTS) if asked == "instruction" else None
            answer = first(_ANSWERS, response)
            name = "gsm8k" if is_gsm8k else layout
            count = sum(bool(row.get(question)) and bool(row.get(response)) for row in rows)
            found.append((count, Columns(name, question, response, answer, context, language, correct)))
    if found:
        most = max(count for count, _ in found)
        return next(columns for count, columns in found if count >= _SHARE_OF_LAYOUT * most)
    # Lists without a turn come last: an empty list of messages may stand beside a question and its response.
    for chat in (*chats, *([spelled["chosen"]] if "chosen" in spelled else [])):
        if any(is_conversation(row.get(chat)) for row in rows):
            return Columns("sharegpt", chat, chat, language=language, correct=correct)
    return None


def unknown_columns(names: Sequence[str], wanted: ColumnSettings | None, source: str) -> DataError:
    """The error for a data set in which `find_columns` finds nothing."""
    missing = wanted and next(
        (column for column in (wanted.question, wanted.response, wanted.answer) if column and column not in names), None
    )
    if missing:
        close = difflib.get_close_matches(missing, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return DataError(
            f"there is no column {missing!r}{hint}",
            where=source,
            remedy=f"data.instructions.columns: choose from {', '.join(names)}",
        )
    return UnknownColumns(
        f"cannot tell question from response among the columns {', '.join(names)}",
        where=source,
        remedy="name them with data.instructions.columns: {question: …, response: …}",
    )


def _ends_like_gsm8k(response: Any) -> bool:
    return isinstance(response, str) and _GSM8K_FINAL.search(response) is not None
