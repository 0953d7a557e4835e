"""The few questions in foreign languages that lilift watches while a stage trains, and the evaluation without them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from lilift.evaluate.benchmarks.benchmark import Benchmark, load_benchmark
from lilift.evaluate.benchmarks.benchmark_languages import check_languages, evaluated_languages, naming_setting
from lilift.evaluate.evaluator import load_benchmarks
from lilift.recipe.errors import DataError
from lilift.recipe.schema import WITH_LABELS, BenchmarkSettings, DuringSettings, Recipe

LANGUAGES = "evaluate.during.languages"


def watched_benchmarks(recipe: Recipe) -> list[Benchmark]:
    """The watched questions, by language: the same ids in each. Empty if the recipe watches nothing.

    Raises:
        DataError: the benchmark has fewer questions than `rows`, lacks a language, or its files are not on this machine.
        EnvironmentUnfit: lilift cannot reach the hub.
    """
    during = recipe.evaluate.during
    if during is None:
        return []
    settings = source_of(recipe, during)
    languages = during.languages or recipe.languages
    check_languages([settings.model_copy(update={"languages": languages})], recipe.languages, setting=LANGUAGES)
    with naming_setting(LANGUAGES):
        whole = [load_benchmark(settings, language, seed=recipe.seed) for language in languages]
    ids = _drawn(whole, during.rows, recipe.seed)
    return [replace(one, questions=tuple(question for question in one.questions if question.id in ids)) for one in whole]


def evaluated_benchmarks(recipe: Recipe) -> list[Benchmark]:
    """The questions of the evaluation after training, in all its languages, without those that lilift watches.

    A `limit` counts the questions that stay.

    Raises:
        DataError: see `load_benchmarks` and `watched_benchmarks`.
    """
    listed, during = recipe.evaluate.benchmarks, recipe.evaluate.during
    shared = None if during is None else recipe.listed_in_evaluation(during)
    if during is None or shared is None:
        return load_benchmarks(listed, recipe.languages, seed=recipe.seed)
    [first, *_] = watched_benchmarks(recipe)
    watched = {question.id for question in first.questions}
    longer = [
        one.model_copy(update={"limit": one.limit + len(watched)}) if one is shared and one.limit else one for one in listed
    ]
    loaded = iter(load_benchmarks(longer, recipe.languages, seed=recipe.seed))
    kept = []
    for settings in listed:
        for benchmark in islice(loaded, len(evaluated_languages(settings, recipe.languages))):
            if settings is shared:
                rest = [question for question in benchmark.questions if question.id not in watched]
                benchmark = replace(benchmark, questions=tuple(rest[: settings.limit]))
            kept.append(benchmark)
    return kept


def source_of(recipe: Recipe, during: DuringSettings) -> BenchmarkSettings:
    """Where the watched questions come from: the entry of `evaluate.benchmarks` for the same questions, or `during` itself."""
    listed = recipe.listed_in_evaluation(during)
    wanted = {"source": during.source, "path": during.path}
    given = {name: value for name, value in wanted.items() if value is not None}
    # The most likely label needs one look at the question, and a response many.
    given["labels"] = "likelihood" if during.benchmark in WITH_LABELS else "generation"
    if listed is not None:
        return listed.model_copy(update={**given, "limit": None, "languages": None})
    return BenchmarkSettings.model_validate({"name": during.benchmark, **given})


def _drawn(whole: Sequence[Benchmark], rows: int, seed: int) -> frozenset[str]:
    """Draw the ids of the watched questions from those that all languages have."""
    common = set.intersection(*({question.id for question in one.questions} for one in whole))
    ids = [question.id for question in whole[0].questions if question.id in common]
    if len(ids) <= rows:
        raise DataError(
            f"{whole[0].name} has {len(ids)} questions in all watched languages, so lilift cannot watch {rows} and leave "
            "others for the evaluation",
            where="evaluate.during.rows",
            remedy=f"set it to {max(1, len(ids) // 4)}, or choose a larger benchmark",
        )
    return frozenset(random.Random(f"watched {seed}").sample(ids, rows))
