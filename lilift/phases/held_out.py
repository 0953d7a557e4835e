"""Reads the benchmark questions that a recipe's training data must not contain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from lilift.data.texts.contamination import HeldOut
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_rows import without_instruction
from lilift.evaluate.benchmarks.custom.custom_benchmark import read_custom
from lilift.evaluate.watched_questions import source_of
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings, Recipe


def held_out_questions(recipe: Recipe) -> HeldOut:
    """The English questions of `data.held_out`, `evaluate.benchmarks` and `evaluate.during`.

    If the recipe reads running text, the questions in its languages count too, as far as a benchmark has them.

    `world` holds its own out by construction.

    All questions of a benchmark count, also those beyond its `limit`. A custom benchmark counts in all its languages, because
    a stage may train on translations.

    Raises:
        DataError: a benchmark of `data.held_out` cannot be read. One of `evaluate.benchmarks` without English is skipped.
    """
    texts: dict[str, list[str]] = {}
    unchecked: dict[str, str] = {}
    during = recipe.evaluate.during
    watched = () if during is None or recipe.listed_in_evaluation(during) else (source_of(recipe, during),)
    for settings in (*recipe.data.held_out, *recipe.evaluate.benchmarks, *watched):
        if settings.name == "world" or settings.name in texts:
            continue
        try:
            name, questions = _questions_of(settings)
        except DataError as error:
            if settings in recipe.data.held_out:
                raise
            unchecked[settings.path if settings.name == "custom" and settings.path else settings.name] = str(error)
            continue
        texts[name] = [*questions, *(_foreign_questions(settings, tuple(recipe.running_text)) if recipe.running_text else ())]
    return HeldOut(texts, unchecked)


def _foreign_questions(settings: BenchmarkSettings, languages: Sequence[str]) -> Iterator[str]:
    """The questions of a benchmark in these languages; a custom one counts in all its languages anyway."""
    for code in languages if settings.name != "custom" else ():
        with suppress(DataError):  # the benchmark does not have the language
            benchmark = load_benchmark(settings.model_copy(update={"limit": None}), code)
            yield from (without_instruction(question.text) for question in benchmark.questions)


def _questions_of(settings: BenchmarkSettings) -> tuple[str, list[str]]:
    """The name of a benchmark in reports, and the questions to compare with."""
    if settings.name == "custom":
        own = read_custom(settings)
        return own.name, [question.own for questions in own.languages.values() for question in questions]
    benchmark = load_benchmark(settings.model_copy(update={"limit": None}), "en")
    return settings.name, [without_instruction(question.text) for question in benchmark.questions]
