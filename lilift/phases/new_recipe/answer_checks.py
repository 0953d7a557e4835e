"""Checks the answers about data that a new recipe is written from: dictionary, English exercises, benchmark.

Each check returns what the recipe will say, and lines that tell the user what lilift has found. A wrong answer is one error,
which names what to give instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lilift.data.languages import Language, language
from lilift.data.lexicons.coverage import low_coverage
from lilift.data.lexicons.english_forms import count_words, find_names
from lilift.data.lexicons.lexicon import Lexicon
from lilift.data.lexicons.lexicon_folder import languages_in, load_lexicon
from lilift.data.lexicons.publishers import PUBLISHERS, download_for, sources_for
from lilift.data.texts.instructions import load_instructions
from lilift.data.world import WORLD_LANGUAGES
from lilift.evaluate.benchmarks.benchmark_fetch import PUBLIC
from lilift.evaluate.benchmarks.benchmark_languages import check_languages
from lilift.evaluate.benchmarks.benchmark_places import fetched_folder
from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines, read_custom
from lilift.phases.new_recipe.language_fit import warn_if_english, warn_if_not_english
from lilift.recipe.errors import DataError
from lilift.recipe.names.column_names import UnknownColumns, named_columns, place_and_columns
from lilift.recipe.names.local_paths import is_written_as_path, local_path
from lilift.recipe.schema import (
    BenchmarkName,
    BenchmarkSettings,
    ColumnSettings,
    InstructionSettings,
    QuestionColumnSettings,
)

AS_SHIPPED = "default"
"""The answer that takes the exercises of the shipped recipe."""
NONE = "none"
"""The answer that leaves the benchmark out."""
FETCHED_INTO = "lexicons"
_FEW_WORDS = 100
"""lilift warns about a dictionary with fewer English words."""


@dataclass(frozen=True)
class DictionaryAnswer:
    """A dictionary for the new recipe.

    Attributes:
        place: a file or folder, or None for lilift's own excerpt.
        lexicon: its content; None if it must still be downloaded.
        lines: what lilift found.
        fetch: the command that downloads it; empty if it is on this machine.
    """

    place: Path | None
    lexicon: Lexicon | None
    lines: tuple[str, ...]
    fetch: str = ""


@dataclass(frozen=True)
class ExercisesAnswer:
    """English exercises for the new recipe.

    Attributes:
        source: a file or folder, or a name; None for those of the shipped recipe.
        columns: names of the columns, if they were given.
        lines: what lilift found.
        note: a comment for the recipe.
    """

    source: Path | str | None
    columns: ColumnSettings | None = None
    lines: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class BenchmarkAnswer:
    """A benchmark for the new recipe.

    Attributes:
        name: its name.
        path: for your own questions, their file or folder.
        lines: what lilift found.
        names_language: whether the recipe must name the language, because the questions do not.
        columns: names of the columns, if they were given.
        fetch: the command that downloads it; empty if it needs none.
        on_hub: whether the hub alone has it.
    """

    name: str
    path: Path | None
    lines: tuple[str, ...]
    names_language: bool = False
    columns: QuestionColumnSettings | None = None
    fetch: str = ""
    on_hub: bool = False


def check_dictionary(text: str, known: Language) -> DictionaryAnswer:
    """Read a dictionary, or find the publishers that have one.

    Args:
        text: a file, a folder of lexicons, publishers such as ``gatitos,wiktionary``, or ``world``.
        known: the language that it must translate into.

    Raises:
        DataError: there is no such file or publisher, or it is no dictionary of this language.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    if text == "world":
        if known.code not in WORLD_LANGUAGES:
            raise DataError(
                f"the excerpt that comes with lilift has no {known.name} ({known.code})", where=text, remedy=_offer(known)
            )
        lexicon = load_lexicon("world", known.code)
        return DictionaryAnswer(None, lexicon, _found(lexicon, "the excerpt of GATITOS that comes with lilift"))
    path = local_path(text)
    if path is None and names and all(name in PUBLISHERS for name in names):
        return _published(names, known)
    if path is None or not path.exists():
        raise DataError("there is no such file, folder or publisher", where=text, remedy=_offer(known))
    remarks = []
    if path.is_file():
        try:
            named = [code for code in languages_in(path) if code != known.code]
        except DataError:
            named = []  # the name says no language, as most names of tables do
        if named and path.suffix != ".parquet":
            other = language(named[0]).name
            remarks.append(f"note: the name {path.name} says {other}; check that the translations are {known.name}")
    lexicon = load_lexicon(str(path), known.code)
    if len(lexicon.entries) < _FEW_WORDS:
        remarks.append(
            f"warning: {len(lexicon.entries)} words are few; a useful dictionary has some thousands; {_offer(known)}"
        )
    return DictionaryAnswer(path, lexicon, (*_found(lexicon, str(path)), *remarks))


def _found(lexicon: Lexicon, place: str) -> tuple[str, ...]:
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in lexicon.dropped.items())
    size, pairs = f"{len(lexicon.entries):,} English words", f"{lexicon.pairs:,} pairs"
    found = f"{place}: {size} with {pairs} into {lexicon.language.name} ({lexicon.language.code})"
    # The first lines of a file may be letters or the names of its columns.
    words = [word for word in lexicon.entries if len(word) > 2] or list(lexicon.entries)
    example = f"{words[0]} → {lexicon.entries[words[0]][0].text}"
    remarks = (f"note: {remark}" for source in lexicon.sources for remark in source.remarks())
    return (f"{found}, such as {example}", *([f"left out: {left_out}"] if left_out else []), *remarks)


def _published(names: list[str], known: Language) -> DictionaryAnswer:
    for name in names:
        if download_for(name, known.code) is None:
            raise DataError(f"{name} has no dictionary of {known.name} ({known.code})", remedy=_offer(known))
    lines = [f"{name}: {PUBLISHERS[name].title}; licence: {PUBLISHERS[name].licence}" for name in names]
    command = f"lilift lexicon fetch {','.join(names)} --languages {known.code} --into {FETCHED_INTO}"
    return DictionaryAnswer(Path(FETCHED_INTO), None, tuple(lines), command)


def _offer(known: Language) -> str:
    """What to give as a dictionary of a language."""
    published = sources_for(known.code)
    offered = f", or a publisher that has {known.name}: {', '.join(published)}" if published else ""
    return f"give a file with one `english translation` pair a line, or a folder of lexicons{offered}"


def check_exercises(text: str, lexicon: Lexicon | None) -> ExercisesAnswer:
    """Read English exercises, and measure how many of their words a dictionary covers.

    Args:
        text: a file or folder, with its columns after it or not; a data set on the Hugging Face hub, ``world``, or
            `AS_SHIPPED`.
        lexicon: the dictionary, if it is on this machine.

    Raises:
        DataError: there is no such file, or lilift cannot use it as exercises.
    """
    if text == AS_SHIPPED:
        return ExercisesAnswer(None)
    place, given = place_and_columns(text)
    columns = None if given is None else named_columns(given, ColumnSettings, "columns")
    path = local_path(place)
    if path is None and place != "world":
        if place.count("/") != 1:
            raise DataError(
                "there is no such file or folder",
                where=place,
                remedy="give a jsonl, json, csv, tsv or parquet file, a data set on the hub such as meta-math/MetaMathQA, or "
                f"`{AS_SHIPPED}`",
            )
        return ExercisesAnswer(place, lines=(f"{place}: a name on the Hugging Face hub; lilift has not looked at it",))
    # A small part of the generated problems shows the words of all.
    settings = InstructionSettings(source="world", limit=1000) if path is None else InstructionSettings(source=str(path))
    with _naming_columns(place, "question=…,response=…"):
        examples, report = load_instructions(settings.model_copy(update={"columns": columns}), seed=0)
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in report.dropped.items())
    roles = ", ".join(f"{role} ← {name}" for role, name in report.columns.items())
    lines = [f"{place}: {report.kept:,} of {report.read:,} rows; {roles}{f'; left out: {left_out}' if left_out else ''}"]
    note = f"{report.kept:,} exercises" if path is not None else "English word problems, generated"
    questions = [example.question for example in examples]
    wrong = warn_if_not_english(questions)
    if lexicon is not None and not wrong:
        coverage = lexicon.coverage(count_words(questions, find_names(questions)))
        lines.append(f"the dictionary covers {coverage.share:.0%} of the words in these questions")
        low = low_coverage(lexicon.language.code, coverage, lexicon.sources)
        lines += [f"warning: {low}"] if low else []
        note += f"; the dictionary covers {coverage.share:.0%} of their words"
    return ExercisesAnswer(path or place, columns, (*lines, *wrong), note)


def check_benchmark(text: str, known: Language, exercises: ExercisesAnswer | None = None) -> BenchmarkAnswer | None:
    """Read your own questions, or find a benchmark that has the language.

    Args:
        text: a file or folder with your questions, with its columns after it or not; the name of a benchmark, or `NONE`.
        known: the language.
        exercises: what the model trains on, which must be something else.

    Raises:
        DataError: there is no such file or benchmark, lilift cannot read it, it lacks the language, or it is the exercises.
    """
    if text == NONE:
        return None
    names = tuple(name for name in get_args(BenchmarkName) if name != "custom")
    if text in names and not is_written_as_path(text):
        return _published_benchmark(text, known)
    place, given = place_and_columns(text)
    columns = None if given is None else named_columns(given, QuestionColumnSettings, "columns")
    path = local_path(place)
    if path is None or not path.exists():
        raise DataError(
            "there is no such file, folder or benchmark",
            where=place,
            remedy=f"give the file or folder with your questions, `{NONE}`, or a benchmark: {', '.join(names)}",
        )
    if exercises is not None and isinstance(exercises.source, Path) and exercises.source.resolve() == path.resolve():
        raise DataError(
            "these are the exercises that the model trains on, so they cannot measure it",
            where=place,
            remedy=f"give other questions, or `{NONE}`",
        )
    settings, named = BenchmarkSettings(name="custom", path=str(path), columns=columns), False
    with _naming_columns(place, "question=…,answer=…"):
        try:
            check_languages([settings], [known.code], setting=f"--benchmark {place}")
        except UnknownColumns:
            raise
        except DataError as error:
            # A file without a language has questions in one language only: the one that it is given for.
            settings, named = settings.model_copy(update={"languages": (known.code,)}), True
            try:
                check_languages([settings], [known.code])
            except DataError:
                raise error from None
    questions = [question.own for question in read_custom(settings).languages[known.code]]
    lines = (*custom_lines([settings]), *warn_if_english(questions, known))
    return BenchmarkAnswer("custom", path, lines, named, columns)


def _published_benchmark(name: str, known: Language) -> BenchmarkAnswer:
    """A published benchmark: on this machine, from its authors' address, or on the hub."""
    check_languages([BenchmarkSettings.model_validate({"name": name})], [known.code], setting=f"--benchmark {name}")
    found = f"{name}: has questions in {known.name} ({known.code})"
    if name == "world" or fetched_folder(name).is_dir():
        return BenchmarkAnswer(name, None, (found,))
    if name in PUBLIC:
        return BenchmarkAnswer(name, None, (found,), fetch=f"lilift eval fetch {name}")
    return BenchmarkAnswer(name, None, (f"{found}, on the Hugging Face hub",), on_hub=True)


@contextmanager
def _naming_columns(place: str, columns: str) -> Iterator[None]:
    """Say how to name columns here, where there is no recipe yet.

    Raises:
        DataError: lilift recognises no column for a role.
    """
    try:
        yield
    except UnknownColumns as error:
        raise DataError(error.what, where=place, remedy=f"name them after the file: {place} {columns}") from None
