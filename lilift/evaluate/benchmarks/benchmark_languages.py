"""Decides in which languages a benchmark is evaluated, and names the setting if it lacks one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lilift.data.languages import language as known_language
from lilift.data.world import WORLD_LANGUAGES
from lilift.evaluate.benchmarks.benchmark_files import NoSuchLanguage
from lilift.evaluate.benchmarks.benchmark_places import fetched_folder, file_of
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings

if TYPE_CHECKING:
    from lilift.evaluate.benchmarks.custom.custom_benchmark import CustomBenchmark

IN_RECIPE = "evaluate.benchmarks[{}].languages"
"""The setting with the languages of a recipe's benchmark, with `{}` in place of its number from 0."""
OPTION = "--languages"


def evaluated_languages(settings: BenchmarkSettings, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages of an evaluation: those of the benchmark's own setting, or English and `languages`.

    A benchmark of one's own often has no English, so English is used only if its file has it.

    Raises:
        DataError: the file of a custom benchmark cannot be used.
    """
    if settings.languages:
        return tuple(dict.fromkeys(settings.languages))
    has_english = settings.name != "custom" or "en" in _read_custom(settings).languages
    return tuple(dict.fromkeys((*(("en",) if has_english else ()), *languages)))


def check_languages(benchmarks: Sequence[BenchmarkSettings], languages: Sequence[str], *, setting: str = IN_RECIPE) -> None:
    """Check that every benchmark has its languages, before lilift reads or downloads its questions.

    Args:
        benchmarks: the benchmarks.
        languages: of the recipe or of the model; see `evaluated_languages`.
        setting: names the languages in errors; `{}` stands for the number of the benchmark.

    Raises:
        DataError: a benchmark lacks a language, its files are not on this machine, or two languages of a custom benchmark have
            different questions.
    """
    for number, one in enumerate(benchmarks):
        _check(one, languages, setting.format(number))


def check_languages_of_files(benchmarks: Sequence[BenchmarkSettings], languages: Sequence[str]) -> list[BenchmarkSettings]:
    """As `check_languages`, for a recipe whose benchmarks need not be on this machine yet.

    Returns:
        The benchmarks that lilift could check: all, except those whose `path` is not here yet.
    """
    checked = []
    for number, one in enumerate(benchmarks):
        if one.path is not None and not _is_here(one):
            continue
        _check(one, languages, IN_RECIPE.format(number))
        checked.append(one)
    return checked


@contextmanager
def naming_setting(setting: str) -> Iterator[None]:
    """Name the setting of the languages in place of the file if a benchmark lacks a language.

    Raises:
        DataError: it lacks the language.
    """
    try:
        yield
    except NoSuchLanguage as error:
        raise DataError(error.what, where=setting, remedy=error.remedy) from None


def _check(one: BenchmarkSettings, languages: Sequence[str], setting: str) -> None:
    wanted = evaluated_languages(one, languages)
    for language in wanted:
        with naming_setting(setting):
            _require(one, known_language(language).code)
    if one.name == "custom" and wanted:
        from lilift.evaluate.benchmarks.custom.question_alignment import check_same_questions

        check_same_questions(_read_custom(one), wanted)


def _require(settings: BenchmarkSettings, language: str) -> None:
    """Check that a benchmark has a language, by its files on this machine or by the register. lilift downloads nothing for it.

    A folder of one's own may have more languages than the authors published.
    """
    if settings.name == "world":
        if language not in ("en", *WORLD_LANGUAGES):
            raise NoSuchLanguage(f"world has no questions in {language!r}", where="world", there=("en", *WORLD_LANGUAGES))
    elif settings.name == "custom":
        _read_custom(settings).require(language)
    elif settings.source != "hub" and _is_here(settings):
        file_of(settings, language)
    elif language not in (there := SOURCES[settings.name].languages):
        raise NoSuchLanguage(f"{settings.name} has no questions in {language!r}", where=settings.name, there=sorted(there))


def _is_here(settings: BenchmarkSettings) -> bool:
    """Whether the files of a benchmark are on this machine."""
    path = Path(settings.path).expanduser() if settings.path is not None else fetched_folder(settings.name)
    return settings.source == "sample" or path.exists()


def _read_custom(settings: BenchmarkSettings) -> CustomBenchmark:
    # Imported here, because reading right answers takes many patterns, and most recipes have published benchmarks alone.
    from lilift.evaluate.benchmarks.custom.custom_benchmark import read_custom

    return read_custom(settings)
