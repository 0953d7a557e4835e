"""Checks before a run begins that every file is there that a later phase reads.

A missing file would otherwise stop the run after days of training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from lilift.data.lexicons.lexicon_folder import require_lexicons
from lilift.data.prepare import lexicon_locations
from lilift.data.texts.monolingual import require_running_text
from lilift.data.texts.parallel_sentences import parallel_sentences
from lilift.evaluate.evaluator import load_benchmarks
from lilift.evaluate.watched_questions import watched_benchmarks
from lilift.export.gguf.gguf_writer import DIRECT
from lilift.export.gguf.quantise import quantiser
from lilift.phases.run_folder import Phase
from lilift.recipe.errors import LiliftError
from lilift.recipe.schema import Recipe
from lilift.translation.find_translator import check_translator
from lilift.translation.translator import require_library


def missing_for(recipe: Recipe, phases: Collection[Phase]) -> list[LiliftError]:
    """Everything that these phases need and that is missing: lexicons, text files, benchmarks, parallel sentences, a
    translator, llama.cpp's quantiser.

    `lilift.phases.model_check.recipe_models` checks the models.
    """
    checks: dict[Phase, tuple[Callable[[Recipe], None], ...]] = {
        "data": (_check_lexicons, require_running_text),
        "evaluate": (_check_benchmarks, _check_sentences, _check_pivot),
        "export": (_check_quantiser,),
    }
    if recipe.evaluate.during is not None:
        checks[recipe.evaluate.during.stages[0]] = (_check_watched,)
    missing = []
    for phase in phases:
        for check in checks.get(phase, ()):
            try:
                check(recipe)
            except LiliftError as error:
                missing.append(error)
    return missing


def _check_lexicons(recipe: Recipe) -> None:
    require_lexicons(lexicon_locations(recipe))


def _check_benchmarks(recipe: Recipe) -> None:
    # `world` is generated, so it is always there. One question shows whether it knows the language.
    benchmarks = [one.model_copy(update={"limit": 1}) if one.name == "world" else one for one in recipe.evaluate.benchmarks]
    load_benchmarks(benchmarks, recipe.languages, seed=recipe.seed)


def _check_watched(recipe: Recipe) -> None:
    watched_benchmarks(recipe)


def _check_sentences(recipe: Recipe) -> None:
    source = recipe.evaluate.alignment
    if source is not None and source != "world":  # lilift measures only the languages that `world` knows
        parallel_sentences(source, ["en", *recipe.languages])


def _check_pivot(recipe: Recipe) -> None:
    """The translator's package and, if its files are on this machine, its family and its languages."""
    pivot = recipe.evaluate.pivot
    if pivot is None:
        return
    require_library()
    languages = {"en", *recipe.languages, *(code for one in recipe.evaluate.benchmarks for code in one.languages or ())}
    check_translator(pivot.model, languages, pivot.language_codes)


def _check_quantiser(recipe: Recipe) -> None:
    if "gguf" in recipe.export.formats and not set(recipe.export.quantisations) <= DIRECT.keys():
        quantiser()
