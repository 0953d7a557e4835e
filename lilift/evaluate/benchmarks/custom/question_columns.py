"""Recognises which columns of your benchmark hold the questions, the right answers, the ids, the languages and the choices."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lilift.data.texts.row_languages import LANGUAGE_COLUMNS
from lilift.recipe.errors import DataError
from lilift.recipe.names.column_names import UnknownColumns
from lilift.recipe.names.language_names import read_language
from lilift.recipe.schema import QuestionColumnSettings

# Names in the order in which lilift looks for them, in lower case and with `_` for space and hyphen.
_QUESTIONS = (
    "m_query", "question", "questions", "query", "problem", "prompt", "instruction", "input", "text", "sentence",
)  # fmt: skip
_ANSWERS = (
    "answer_number", "gold", "gold_answer", "gold_label", "correct_answer_num", "correct_answer", "correct_option",
    "correct_choice", "right_answer", "final_answer", "expected_answer", "answer_key", "answerkey", "answer", "answers",
    "correct", "label", "target", "solution", "output", "response", "topic", "category", "sentiment", "class",
)  # fmt: skip
_IDS = ("id", "question_id", "qid", "problem_id", "idx", "index", "uid", "number", "no", "nr")
_LANGUAGES = (*LANGUAGE_COLUMNS, "language_code", "lang_code", "locale")
_CONTEXTS = ("flores_passage", "passage", "context", "paragraph", "story")
_CHOICES = ("choices", "options", "candidates", "alternatives", "answer_choices", "answer_options")
_ONE_CHOICE = re.compile(r"(?P<name>(?:(?:option|choice|opt|op|mc_answer|answer|alternative)_?)?)(?P<place>[a-z]|\d\d?)")


@dataclass(frozen=True)
class QuestionColumns:
    """Where the parts of a question are.

    Attributes:
        question: column of the questions; empty if each language has a column of its own.
        answer: column of the right answers.
        id, language, context: the columns of these, if there are any.
        choices: one column with lists, or one column for each choice; empty without choices.
        by_language: code → column of its questions, if the languages stand side by side.
    """

    question: str
    answer: str
    id: str | None = None
    language: str | None = None
    context: str | None = None
    choices: tuple[str, ...] = ()
    by_language: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """The columns in words, for the user."""
        parts = {
            "question": _column(*(self.by_language.values() or (self.question,))),
            "answer": _column(self.answer),
            "choices": _column(*self.choices) if self.choices else None,
            "context": _column(self.context) if self.context else None,
            "id": _column(self.id) if self.id else None,
            "language": _column(self.language) if self.language else None,
        }
        return "; ".join(f"{role}: {text}" for role, text in parts.items() if text)


def find_question_columns(names: Sequence[str], wanted: QuestionColumnSettings | None, where: Path) -> QuestionColumns:
    """Find out which column holds what.

    Args:
        names: the columns of the files.
        wanted: the columns that the user names; lilift recognises the others.
        where: the file or folder, for errors.

    Raises:
        DataError: a named column does not exist, two roles have the same column, or lilift finds no question or no answer.
    """
    wanted = wanted or QuestionColumnSettings()
    named = [one for one in (wanted.question, wanted.answer, wanted.id, wanted.language, wanted.context) if one is not None]
    named += wanted.choices or ()
    for name in named:
        if name not in names:
            raise _no_such_column(name, names, where)
        if named.count(name) > 1:
            raise DataError(f"the column {name!r} has two roles", where=where, remedy="name another column in `columns`")
    free = {_plain(name): name for name in reversed(names) if name not in named}

    def take(candidates: Iterable[str]) -> str | None:
        found = next((free[name] for name in candidates if name in free), None)
        if found is not None:
            del free[_plain(found)]
        return found

    language = wanted.language or take(_LANGUAGES)
    identity = wanted.id or take(_IDS)
    choices = wanted.choices or _choice_columns(free, take)
    question = wanted.question or take(_QUESTIONS)
    side_by_side = {} if question else _by_language(name for name in names if name in free.values())
    answer = wanted.answer or take(_ANSWERS)
    if not question and not side_by_side:
        raise _not_found("questions", "question", names, where)
    if not answer:
        raise _not_found("right answers", "answer", names, where)
    context = wanted.context or take(_CONTEXTS)
    return QuestionColumns(question or "", answer, identity, language, context, tuple(choices), side_by_side)


def _choice_columns(free: dict[str, str], take: Callable[[Iterable[str]], str | None]) -> tuple[str, ...]:
    """The column of the choices, or the columns A, B, C …, option_a …, choice1 …; empty if there are none."""
    together = take(_CHOICES)
    if together is not None:
        return (together,)
    groups: dict[str, dict[str, str]] = {}
    for plain, name in free.items():
        match = _ONE_CHOICE.fullmatch(plain)
        if match and (match["name"] or match["place"].isalpha()):
            groups.setdefault(match["name"].rstrip("_"), {})[match["place"]] = name
    for places in groups.values():
        for first in ("a", "0", "1"):
            run = _consecutive(places, first)
            if len(run) > 1:
                for name in run:
                    del free[_plain(name)]
                return tuple(run)
    return ()


def _consecutive(places: Mapping[str, str], first: str) -> list[str]:
    """The columns of a, b, c … or 1, 2, 3 …, as far as there are any."""
    run: list[str] = []
    place = first
    while place in places:
        run.append(places[place])
        place = chr(ord(place) + 1) if place.isalpha() else str(int(place) + 1)
    return run


def _by_language(names: Iterable[str]) -> dict[str, str]:
    """Code → column, for columns such as `question_sw`, `Question (Swahili)` and `problem-yo`."""
    found: dict[str, str] = {}
    for name in names:
        match = re.fullmatch(
            rf"(?:{'|'.join(_QUESTIONS)})[ _.:-]*\(?\s*(?P<language>[^()]+?)\s*\)?", name.strip(), re.IGNORECASE
        )
        language = read_language(match["language"]) if match else None
        if language is not None:
            found.setdefault(language.code, name)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[ -]+", "_", name.strip().casefold())


def _column(*names: str) -> str:
    return f"{'columns' if len(names) > 1 else 'column'} " + ", ".join(f"`{name}`" for name in names)


def _no_such_column(name: str, names: Sequence[str], where: Path) -> DataError:
    close = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return DataError(f"there is no column {name!r}{meant}", where=where, remedy=f"choose from {', '.join(names)}")


def _not_found(what: str, role: str, names: Sequence[str], where: Path) -> DataError:
    return UnknownColumns(
        f"lilift does not know which column holds the {what}: the columns are {', '.join(names)}",
        where=where,
        remedy=f"name it with `columns: {{{role}: …}}` in the recipe, or with --columns {role}=…",
    )
