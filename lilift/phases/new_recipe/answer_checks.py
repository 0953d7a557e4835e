"""Checks the answers about data that a new recipe is written from: dictionary, English exercises, benchmark.

Each check returns what the recipe will say, and lines that tell the user what lilift has found. A wrong answer is one error,
which names what to give instead.
"""

from __future__ import annotations

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
from lilift.evaluate.benchmarks.benchmark_languages import check_languages
from lilift.evaluate.benchmarks.custom.custom_benchmark import custom_lines
from lilift.recipe.errors import DataError
from lilift.recipe.names.local_paths import is_written_as_path, local_path
from lilift.recipe.schema import BenchmarkName, BenchmarkSettings, InstructionSettings

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
        lines: what lilift found.
        note: a comment for the recipe.
    """

    source: Path | str | None
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
    """

    name: str
    path: Path | None
    lines: tuple[str, ...]
    names_language: bool = False


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
    words, pairs = f"{len(lexicon.entries):,} English words", f"{lexicon.pairs:,} pairs"
    found = f"{place}: {words} with {pairs} into {lexicon.language.name} ({lexicon.language.code})"
    example = next(f"{english} → {given[0].text}" for english, given in lexicon.entries.items())
    return (f"{found}, such as {example}", *([f"left out: {left_out}"] if left_out else []))


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
        text: a file or folder, a data set on the Hugging Face hub, ``world``, or `AS_SHIPPED`.
        lexicon: the dictionary, if it is on this machine.

    Raises:
        DataError: there is no such file, or lilift cannot use it as exercises.
    """
    if text == AS_SHIPPED:
        return ExercisesAnswer(None)
    path = local_path(text)
    if path is None and text != "world":
        if text.count("/") != 1:
            raise DataError(
                "there is no such file or folder",
                where=text,
                remedy="give a jsonl, json, csv, tsv or parquet file, a data set on the hub such as meta-math/MetaMathQA, or "
                f"`{AS_SHIPPED}`",
            )
        return ExercisesAnswer(text, (f"{text}: a name on the Hugging Face hub; lilift has not looked at it",))
    # A small part of the generated problems shows the words of all.
    settings = InstructionSettings(source="world", limit=1000) if path is None else InstructionSettings(source=str(path))
    examples, report = load_instructions(settings, seed=0)
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in report.dropped.items())
    columns = ", ".join(f"{role} ← {name}" for role, name in report.columns.items())
    lines = [f"{text}: {report.kept:,} of {report.read:,} rows; {columns}{f'; left out: {left_out}' if left_out else ''}"]
    note = f"{report.kept:,} exercises" if path is not None else "English word problems, generated"
    if lexicon is not None:
        questions = [example.question for example in examples]
        coverage = lexicon.coverage(count_words(questions, find_names(questions)))
        lines.append(f"the dictionary covers {coverage.share:.0%} of the words in these questions")
        low = low_coverage(lexicon.language.code, coverage)
        lines += [f"warning: {low}"] if low else []
        note += f"; the dictionary covers {coverage.share:.0%} of their words"
    return ExercisesAnswer(path or text, tuple(lines), note)


def check_benchmark(text: str, known: Language) -> BenchmarkAnswer | None:
    """Read your own questions, or find a benchmark that has the language.

    Args:
        text: a file or folder with your questions, the name of a benchmark, or `NONE`.
        known: the language.

    Raises:
        DataError: there is no such file or benchmark, lilift cannot read it, or it lacks the language.
    """
    if text == NONE:
        return None
    names = tuple(name for name in get_args(BenchmarkName) if name != "custom")
    path = local_path(text)
    if text in names and not is_written_as_path(text):
        settings = BenchmarkSettings(name=text)
        check_languages([settings], [known.code], setting=f"--benchmark {text}")
        return BenchmarkAnswer(text, None, (f"{text}: has questions in {known.name} ({known.code})",))
    if path is None or not path.exists():
        raise DataError(
            "there is no such file, folder or benchmark",
            where=text,
            remedy=f"give the file or folder with your questions, `{NONE}`, or a benchmark: {', '.join(names)}",
        )
    settings, named = BenchmarkSettings(name="custom", path=str(path)), False
    try:
        check_languages([settings], [known.code], setting=f"--benchmark {text}")
    except DataError as error:
        # A file without a language has questions in one language only: the one that it is given for.
        settings, named = BenchmarkSettings(name="custom", path=str(path), languages=(known.code,)), True
        try:
            check_languages([settings], [known.code])
        except DataError:
            raise error from None
    return BenchmarkAnswer("custom", path, tuple(custom_lines([settings])), named)
