"""Loads benchmarks: the questions of one language and their gold answers.

lilift generates `world`. It reads the others from their authors' files, from the Hugging Face hub, or from a few rows of its
own for smoke tests (every table calls these `sample`). A row of a benchmark has the same id in every language, so that results
can be compared row by row; `check_alignment` checks this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from lilift.data.languages import language as known_language
from lilift.data.world import WORLD_LANGUAGES, no_world_language, test_problems
from lilift.evaluate.benchmarks.benchmark_files import NoSuchLanguage
from lilift.evaluate.benchmarks.benchmark_hub import rows_from_hub
from lilift.evaluate.benchmarks.benchmark_places import file_of
from lilift.evaluate.benchmarks.benchmark_rows import Row, bare_question
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES, BenchmarkSource
from lilift.evaluate.benchmarks.custom.custom_benchmark import is_custom, read_custom
from lilift.evaluate.benchmarks.custom.question_texts import without_line
from lilift.evaluate.benchmarks.mmwp_faults import mmwp_is_sound
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings

WORLD_QUESTIONS = 200
"""Questions of the generated benchmark in each language, if no limit is set."""
SAMPLE_SUFFIX = "-sample"
"""End of a benchmark's name if the questions are lilift's own sample rows."""
BARE_SUFFIX = "-bare"
"""Part of a benchmark's name if the questions lack the line that lists the possible answers."""
LIKELIHOOD_SUFFIX = "-likelihood"
"""End of a benchmark's name if labels are chosen by likelihood: scores differ from those of answers that a model writes."""


@dataclass(frozen=True)
class Question:
    """One question; `id` is the same in every language of its benchmark.

    Attributes:
        id: identifies the question within its benchmark.
        text: the question itself.
        gold: the right answer: a number, or one of `labels`.
        labels: the possible answers, if the answer is not a number.
        choices: the text of each label's choice, if labels are letters.
        sound: whether the row has no known fault; False if the translation lost a number or the gold answer is known to be
            wrong.
    """

    id: str
    text: str
    gold: Decimal | str
    labels: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    sound: bool = True


@dataclass(frozen=True)
class Benchmark:
    """The questions of one benchmark in one language.

    Attributes:
        name: the benchmark's name, then `SAMPLE_SUFFIX` if it is lilift's own sample, `BARE_SUFFIX` if questions are bare, and
            `LIKELIHOOD_SUFFIX` if labels are chosen by likelihood.
        language: the code of the questions' language.
        questions: the questions.
        rows_read: number of rows in its source; larger than the number of questions if a limit is set or rows are left out.
        left_out: number of rows without a question here, because lilift cannot judge a response to them.
        fingerprint: a digest of all rows, if the user can change them between two evaluations; otherwise empty.
    """

    name: str
    language: str
    questions: tuple[Question, ...]
    rows_read: int
    left_out: int = 0
    fingerprint: str = ""

    @property
    def by_likelihood(self) -> bool:
        """Whether the answer is the most likely label, and not the label that a response names."""
        return self.name.endswith(LIKELIHOOD_SUFFIX)


def load_benchmark(settings: BenchmarkSettings, language: str, *, seed: int = 0) -> Benchmark:
    """Read or generate the questions of one language.

    Args:
        settings: which benchmark, where its files are, how many questions.
        language: code of the language.
        seed: draws the questions of `world`; the others do not use it.

    Raises:
        DataError: the benchmark does not have this language; its file is missing, empty, not UTF-8, of another format, or has
            too few or too many rows; or a gold answer is not valid.
        EnvironmentUnfit: lilift cannot reach the hub.
    """
    language = known_language(language).code
    if settings.name == "world":
        if language not in ("en", *WORLD_LANGUAGES):
            raise no_world_language(language, "evaluate.benchmarks: world", "another benchmark, or leave this language out")
        problems = test_problems(language, settings.limit or WORLD_QUESTIONS, seed)
        questions = [Question(problem.id, problem.question, Decimal(problem.answer or "")) for problem in problems]
        return Benchmark("world", language, tuple(questions), len(questions))
    if settings.name == "custom":
        return _custom_benchmark(settings, language)
    return _published(settings, SOURCES[settings.name], language)


def _published(settings: BenchmarkSettings, source: BenchmarkSource, language: str) -> Benchmark:
    """The questions of one language of a published benchmark, or of lilift's sample of it."""
    where, rows = _rows(settings, source, language)
    sample = settings.source == "sample"
    if not rows:
        raise DataError("the benchmark file has no rows", where=where, remedy=source.remedy)
    if len(rows) != source.rows and not sample:
        raise DataError(
            f"the file has {len(rows)} rows, but {settings.name} has {source.rows}",
            where=where,
            remedy="get the complete file from its source",
        )
    sound = settings.name == "mmwp" and not sample
    questions = [
        Question(
            row.id,
            bare_question(row.text) if settings.bare else row.text,
            row.gold,
            row.labels,
            row.choices,
            not sound or mmwp_is_sound(int(row.id), language),
        )
        for row in (_in_order(rows) if source.by_id else rows)
        if row.gold is not None
    ]
    return Benchmark(
        settings.name
        + (SAMPLE_SUFFIX if sample else "")
        + (BARE_SUFFIX if settings.bare else "")
        + (LIKELIHOOD_SUFFIX if settings.labels == "likelihood" else ""),
        language,
        tuple(questions[: settings.limit]),
        len(rows),
        len(rows) - len(questions),
    )


def _custom_benchmark(settings: BenchmarkSettings, language: str) -> Benchmark:
    custom = read_custom(settings)
    custom.require(language)
    rows = custom.languages[language]
    name = custom.name + (BARE_SUFFIX if settings.bare else "")
    if settings.labels == "likelihood":
        name += LIKELIHOOD_SUFFIX
        if not rows[0].labels:
            raise DataError(
                "lilift cannot choose labels by likelihood, because its answers are numbers",
                where=custom.path,
                remedy="leave `labels` out",
            )
    questions = [
        Question(one.id, without_line(one.text) if settings.bare else one.text, one.gold, one.labels, one.choices)
        for one in rows[: settings.limit]
    ]
    return Benchmark(name, language, tuple(questions), len(rows), fingerprint=custom.fingerprint(language))


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows by id; a second row with the same id gets a number after it, so that every id is there once."""
    times: Counter[str] = Counter()
    ordered = []
    for row in sorted(rows, key=lambda row: row.id):
        times[row.id] += 1
        ordered.append(row if times[row.id] == 1 else replace(row, id=f"{row.id} {times[row.id]}"))
    return ordered


def check_alignment(benchmarks: Sequence[Benchmark]) -> None:
    """Check that the languages of each benchmark have the same rows.

    The languages of Global-MMLU-Lite may differ in their rows. There, rows with the same id must have the same gold answer.

    Raises:
        DataError: two languages differ in their ids or gold answers, so their files are from different versions.
    """
    first: dict[str, Benchmark] = {}
    for one in benchmarks:
        if is_custom(one.name):
            continue  # `check_same_questions` has done this, and knows labels that differ from language to language
        other = first.setdefault(one.name, one)
        source = SOURCES.get(published_name(one.name))
        for mine, theirs in _pairs(one, other, in_place=source is None or source.same_rows):
            if (mine.id, mine.gold) != (theirs.id, theirs.gold):
                row = f"row {mine.id}" if mine.id == theirs.id else f"row {mine.id} in {one.language!r} is row {theirs.id}"
                raise DataError(
                    f"{row}: the right answer is {mine.gold} in {one.language!r} and {theirs.gold} in {other.language!r}, so "
                    "the files do not belong together",
                    where=one.name,
                    remedy="get both files from the same version of the benchmark",
                )


def _pairs(one: Benchmark, other: Benchmark, *, in_place: bool) -> Iterator[tuple[Question, Question]]:
    """The questions of two languages that must be the same: those in the same place, or those with the same id."""
    if in_place:
        yield from zip(one.questions, other.questions, strict=False)
        return
    theirs = {question.id: question for question in other.questions}
    yield from ((mine, theirs[mine.id]) for mine in one.questions if mine.id in theirs)


def published_name(name: str) -> str:
    """The name of a benchmark without suffixes, as `BenchmarkSettings` has it."""
    if is_custom(name):
        return "custom"
    return name.removesuffix(LIKELIHOOD_SUFFIX).removesuffix(BARE_SUFFIX).removesuffix(SAMPLE_SUFFIX)


def _rows(settings: BenchmarkSettings, source: BenchmarkSource, language: str) -> tuple[str | Path, list[Row]]:
    """The source of the rows of a language, for errors, and the rows themselves."""
    if settings.source == "hub":
        if source.hub is None:
            raise DataError(
                f"{settings.name} is not on the Hugging Face hub", where="evaluate.benchmarks", remedy=source.remedy
            )
        return f"{source.hub.name} on the hub", rows_from_hub(source.hub, language)
    form, path = file_of(settings, language)
    rows = list(form.read(path, language))
    if form.shared and not rows:
        raise NoSuchLanguage(f"{settings.name} has no questions in {language!r}", where=path)
    return path, rows
