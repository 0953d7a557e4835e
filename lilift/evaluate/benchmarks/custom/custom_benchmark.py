"""Puts a benchmark of your own together: its name, its questions by language, and what the user must know about it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from lilift.evaluate.benchmarks.benchmark_files import NoSuchLanguage
from lilift.evaluate.benchmarks.custom.gold_answers import LETTERS, AnswerCell, Answers, read_answers
from lilift.evaluate.benchmarks.custom.question_columns import QuestionColumns, find_question_columns
from lilift.evaluate.benchmarks.custom.question_files import (
    FileRow,
    QuestionFiles,
    bare_decimals,
    read_question_files,
    split_language,
    stem_of_file,
)
from lilift.evaluate.benchmarks.custom.question_texts import cell_text, line_with_labels, lines_with_choices, own_text
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import read_language, unknown_language
from lilift.recipe.schema import BenchmarkSettings, QuestionColumnSettings

PREFIX = "custom-"
"""Beginning of the name of every benchmark of one's own in results."""
_ENDINGS = ("-likelihood", "-sample", "-bare")  # the ends of names that mean something else in results


@dataclass(frozen=True)
class CustomQuestion:
    """One question.

    Attributes:
        id: the same in every language.
        text: what the model reads: context, question, choices, and a line with the possible answers.
        own: context and question alone, as the file has them.
        gold: the right answer: a number, or one of `labels`.
        labels: the possible answers, if the answer is not a number.
        choices: the text of each label's choice, if labels are letters.
    """

    id: str
    text: str
    own: str
    gold: Decimal | str
    labels: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True)
class CustomBenchmark:
    """A benchmark of your own, in all its languages.

    Attributes:
        name: its name in results.
        path: its file or folder.
        languages: code → questions, in the same order in every language.
        lines: what lilift has recognised, for the user.
        kind: numbers, labels or choices.
        by_row: whether the row, and not an id column, tells which questions of two languages belong together.
    """

    name: str
    path: Path
    languages: Mapping[str, tuple[CustomQuestion, ...]]
    lines: tuple[str, ...]
    kind: str
    by_row: bool

    def require(self, language: str) -> None:
        """Raise `NoSuchLanguage` if the benchmark has no questions in a language."""
        if language not in self.languages:
            what = f"{self.path.name} has no questions in {language!r}"
            raise NoSuchLanguage(what, where=self.path, there=tuple(self.languages))

    def fingerprint(self, language: str) -> str:
        """A digest of the questions and right answers of a language."""
        rows = [(one.id, one.text, str(one.gold), one.labels, one.choices) for one in self.languages[language]]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def is_custom(name: str) -> bool:
    """Whether a name in results is that of a benchmark of one's own."""
    return name.startswith(PREFIX)


def title_of_custom(name: str) -> str:
    """The title of a benchmark of one's own, from its name in results without further endings."""
    return name.removeprefix(PREFIX).replace("-", " ")


def read_custom(settings: BenchmarkSettings) -> CustomBenchmark:
    """Read a benchmark of your own.

    Raises:
        DataError: the files cannot be found or read, a column is not recognised, a row lacks its question, answer or language,
            two questions of a language have the same id, or an answer cannot be read.
    """
    path = Path(settings.path or "").expanduser()
    only = settings.languages[0] if settings.languages and len(settings.languages) == 1 else None
    return _read(path, settings.title, settings.columns, only, _state(path))


def custom_lines(benchmarks: Iterable[BenchmarkSettings]) -> list[str]:
    """What lilift has recognised in each custom benchmark, for the user to check before models answer its questions."""
    found = [read_custom(settings) for settings in benchmarks if settings.name == "custom"]
    return [f"{own.name}: {line}" for own in found for line in own.lines]


@lru_cache(maxsize=8)
def _read(
    path: Path,
    title: str | None,
    wanted: QuestionColumnSettings | None,
    only: str | None,
    state: tuple[object, ...],  # noqa: ARG001 - a changed file is read again
) -> CustomBenchmark:
    files = read_question_files(path)
    columns = find_question_columns(files.names, wanted, path)
    rows = _rows(files, columns, only)
    own = [own_text(row, question, columns) for row, question, _ in rows]
    answers = read_answers([cell for _, _, cell in rows])
    questions: dict[str, dict[str, CustomQuestion]] = {}
    instructions = _instructions(answers, rows, own)
    for place, (row, _, cell) in enumerate(rows):
        of_language = questions.setdefault(cell.language, {})
        id = _id(row, columns, len(of_language))
        if id in of_language:
            raise DataError(
                f"the id {id!r} stands in two rows of the language {cell.language!r}",
                where=row.where,
                remedy="give every question an id of its own",
            )
        choices = answers.choices[place]
        labels = answers.labels or answers.labels_of.get(cell.language) or tuple(LETTERS[: len(choices)])
        text = own[place] + (lines_with_choices(choices) if answers.kind == "choices" else instructions.get(cell.language, ""))
        of_language[id] = CustomQuestion(id, text, own[place], answers.golds[place], labels, choices)
    order = {id: place for place, id in enumerate(next(iter(questions.values())))}
    ordered = {
        language: tuple(sorted(found.values(), key=lambda one: order.get(one.id, len(order))))
        for language, found in questions.items()
    }
    lines = _lines(files, columns, answers, ordered, instructions)
    return CustomBenchmark(_name(path, title, columns), path, ordered, tuple(lines), answers.kind, columns.id is None)


def _instructions(answers: Answers, rows: Sequence[tuple[FileRow, str, AnswerCell]], own: Sequence[str]) -> dict[str, str]:
    """Code → the line with the labels that lilift adds to each question of a language; only languages that need one."""
    languages = dict.fromkeys(cell.language for _, _, cell in rows)
    if not answers.labels_of:
        line = line_with_labels(answers.labels, own)
        return dict.fromkeys(languages, line) if line else {}
    texts: dict[str, list[str]] = {}
    for text, (_, _, cell) in zip(own, rows, strict=True):
        texts.setdefault(cell.language, []).append(text)
    lines = {code: line_with_labels(answers.labels_of[code], texts[code]) for code in languages}
    return {code: line for code, line in lines.items() if line}


def _rows(files: QuestionFiles, columns: QuestionColumns, only: str | None) -> list[tuple[FileRow, str, AnswerCell]]:
    """Row, column of the question and answer of every question; a row with languages side by side gives several."""
    bare = {file: bare_decimals(file) for file in files.files}
    found = []
    for row in files.rows:
        if all(value is None or value == "" for value in row.cells.values()):
            continue
        pairs = columns.by_language.items() or [(_language(row, columns, only), columns.question)]
        choices = tuple(row.cells.get(name) for name in columns.choices)
        for language, question in pairs:
            cell = AnswerCell(row.where, language, row.cells.get(columns.answer), choices, bare[row.file])
            found.append((row, question, cell))
    if not found:
        raise DataError("the file has no rows", where=files.path, remedy="write your questions into it, one in each row")
    return found


def _language(row: FileRow, columns: QuestionColumns, only: str | None) -> str:
    if columns.language is None:
        code = row.language or only
        if code is None:
            raise DataError(
                "lilift does not know the language of these questions",
                where=row.file,
                remedy="add a column `language`, name the file like problems_sw.csv, or name one language: --languages sw, or "
                "`languages: sw` in the recipe",
            )
        return code
    written = cell_text(row, columns.language, "the language")
    if not written:
        raise DataError(f"the column `{columns.language}` is empty", where=row.where, remedy="write the row's language")
    found = read_language(written)
    if found is None:
        raise DataError(unknown_language(written), where=row.where, remedy="correct it, or remove the row")
    return found.code


def _id(row: FileRow, columns: QuestionColumns, place: int) -> str:
    if columns.id is None:
        return str(place + 1)
    id = cell_text(row, columns.id, "the id")
    if not id:
        raise DataError(f"the id is missing (column `{columns.id}`)", where=row.where, remedy="write it, or remove the column")
    return id


def _name(path: Path, title: str | None, columns: QuestionColumns) -> str:
    """The name in results: of the title, or of the file or folder, without the language of a file."""
    place = path.absolute()
    if title:
        stem = title
    elif path.is_dir():
        stem = place.name
    else:
        name, language = split_language(place)
        whole = columns.language is not None or bool(columns.by_language) or language is None
        stem = stem_of_file(place) if whole else name or place.parent.name
    slug = re.sub(r"[^\w]+", "-", stem).strip("-_") or "questions"
    return f"{PREFIX}{slug}" + ("-questions" if f"-{slug}".endswith(_ENDINGS) else "")


def _lines(
    files: QuestionFiles,
    columns: QuestionColumns,
    answers: Answers,
    languages: Mapping[str, tuple[CustomQuestion, ...]],
    instructions: Mapping[str, str],
) -> list[str]:
    counts = {len(questions) for questions in languages.values()}
    if len(counts) == 1:
        rows = f"{_questions(counts.pop())} in {', '.join(languages)}"
    else:
        rows = ", ".join(f"{_questions(len(questions))} in {code}" for code, questions in languages.items())
    aligned = f"by `{columns.id}`" if columns.id else "by row"
    together = f", aligned {aligned}" if len(languages) > 1 and not columns.by_language else ""
    found = [columns.describe(), f"{rows}{together}; answers are {answers.description}"]
    for instruction in dict.fromkeys(instructions.values()):
        of = f" in {', '.join(code for code, line in instructions.items() if line == instruction)}" if answers.labels_of else ""
        found.append(f"lilift adds a line to each question{of} if you do not set `bare`: {instruction.strip()}")
    twice = [question.id for own in languages.values() for question in _repeated(own)]
    if twice:
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        found.append(f"the same text as an earlier question: {', '.join(dict.fromkeys(twice[:3]))}{more}")
    if files.ignored:
        names = ", ".join(file.name for file in files.ignored)
        found.append(f"not read, because the name ends with no language: {names}")
    return found


def _repeated(questions: Sequence[CustomQuestion]) -> list[CustomQuestion]:
    """The questions whose text an earlier question of the language has."""
    first = {question.text: question.id for question in reversed(questions)}
    return [question for question in questions if first[question.text] != question.id]


def _questions(count: int) -> str:
    return f"{count} question{'s' if count != 1 else ''}"


def _state(path: Path) -> tuple[object, ...]:
    """What changes if somebody changes the file, or a file of the folder."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return tuple((str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files)
    except OSError:  # reading it says what is wrong
        return ()
