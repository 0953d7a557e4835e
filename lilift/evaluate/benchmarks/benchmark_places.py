"""Finds a published benchmark's files on this machine: in a folder of the user's, in lilift's cache, or among its samples."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from lilift.data.languages import languages as known_languages
from lilift.evaluate.benchmarks.benchmark_files import FileForm, NoSuchLanguage
from lilift.evaluate.benchmarks.benchmark_sources import SOURCES, BenchmarkSource
from lilift.recipe.errors import DataError
from lilift.recipe.schema import BenchmarkSettings


def fetched_folder(name: str) -> Path:
    """The folder where `lilift eval fetch` puts a benchmark; lilift looks there if you give no other folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "lilift" / "benchmarks" / name


def file_of(settings: BenchmarkSettings, language: str) -> tuple[FileForm, Path]:
    """The file of one language of a published benchmark, and its format.

    Raises:
        NoSuchLanguage: the folder has files of other languages only.
        DataError: the files of the benchmark are not on this machine.
    """
    source = SOURCES[settings.name]
    folder = _folder(settings, source)
    for form in source.forms:
        if path := form.find(folder, language):
            return form, path
    there = sorted({code for form in source.forms for code in form.languages(folder) if code in known_languages()})
    if not there:
        patterns = " or ".join(form.pattern.format("<language>") for form in source.forms)
        raise DataError(f"this folder has no file {patterns}", where=folder, remedy=source.remedy)
    raise NoSuchLanguage(f"{settings.name} has no questions in {language!r}", where=folder, there=there)


def _folder(settings: BenchmarkSettings, source: BenchmarkSource) -> Path:
    if settings.source == "sample":
        return Path(str(resources.files("lilift.evaluate.benchmarks") / "samples" / settings.name))
    if settings.path is None:
        folder = fetched_folder(settings.name)
        if not folder.is_dir():
            raise DataError(
                f"the files of the benchmark {settings.name!r} are not on this machine", where=folder, remedy=source.remedy
            )
        return folder
    folder = Path(settings.path).expanduser()
    if not folder.is_dir():
        raise DataError(f"the folder of the benchmark {settings.name!r} does not exist", where=folder, remedy=source.remedy)
    return folder
