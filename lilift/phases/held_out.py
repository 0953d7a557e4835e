"""Reads the benchmark questions that a recipe's training data must not contain."""

from __future__ import annotations

from lilift.data.texts.contamination import HeldOut
from lilift.evaluate.benchmarks.benchmark import load_benchmark
from lilift.evaluate.benchmarks.benchmark_rows import without_instruction
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe


def held_out_questions(recipe: Recipe) -> HeldOut:
    """The English questions of `data.held_out` and `evaluate.benchmarks`. `world` holds its own out by construction.

    All questions of a benchmark count, also those beyond its `limit`.

    Raises:
        DataError: a benchmark of `data.held_out` cannot be read. One of `evaluate.benchmarks` without English is skipped.
    """
    texts: dict[str, list[str]] = {}
    unchecked: dict[str, str] = {}
    for settings in (*recipe.data.held_out, *recipe.evaluate.benchmarks):
        if settings.name == "world" or settings.name in texts:
            continue
        try:
            benchmark = load_benchmark(settings.model_copy(update={"limit": None}), "en")
        except DataError as error:
            if settings in recipe.data.held_out:
                raise
            unchecked[settings.name] = str(error)
            continue
        texts[settings.name] = [without_instruction(question.text) for question in benchmark.questions]
    return HeldOut(texts, unchecked)
