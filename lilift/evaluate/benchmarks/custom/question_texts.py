"""Writes what the model reads: the question of a row with its context, its choices, and a line with the possible answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.evaluate.benchmarks.benchmark_rows import without_last_line
from lilift.evaluate.benchmarks.custom.gold_answers import LETTERS
from lilift.evaluate.benchmarks.custom.question_columns import QuestionColumns
from lilift.evaluate.benchmarks.custom.question_files import FileRow
from lilift.recipe.errors import DataError

_ASKS_LETTER, _ASKS_LABEL = "Which choice is best? Answer with its letter:", "Answer with one of these:"


def own_text(row: FileRow, question: str, columns: QuestionColumns) -> str:
    """Context and question of a row, as the file has them.

    Args:
        row: the row.
        question: column of the question.
        columns: the other columns.

    Raises:
        DataError: the question is empty or no text.
    """
    text = cell_text(row, question, "the question")
    if not text:
        raise DataError(f"the question is empty (column `{question}`)", where=row.where, remedy="write it, or remove the row")
    context = cell_text(row, columns.context, "the context") if columns.context else ""
    return f"{context}\n\n{text}" if context else text


def cell_text(row: FileRow, column: str, part: str) -> str:
    """The text of a cell; `part` names it in errors.

    Raises:
        DataError: it is no text.
    """
    try:
        return text_of(row.cells.get(column), part).strip()
    except UnusableRowError as error:
        raise DataError(f"lilift cannot read this row: {error}", where=row.where, remedy="write a text") from None


def lines_with_choices(choices: Sequence[str]) -> str:
    """The choices with their letters, and the line that asks for a letter."""
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return f"\n{listed}\n{_ASKS_LETTER} {_or(LETTERS[: len(choices)])}."


def line_with_labels(labels: Sequence[str], own: Sequence[str]) -> str:
    """The line that names the labels; empty if there are none, or if every question names them itself."""
    if not labels:
        return ""
    named = all(re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.I) for text in own for label in labels)
    return "" if named else f"\n{_ASKS_LABEL} {_or(labels)}."


def without_line(text: str) -> str:
    """A question without the line that `lines_with_choices` or `line_with_labels` adds at its end; the choices stay."""
    return without_last_line(text, (_ASKS_LETTER, _ASKS_LABEL))


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
