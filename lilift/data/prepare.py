"""The data phase: reads all training data, counts it and writes it to one folder, before lilift loads any model.

`lilift.data.prepared_data` says what is in the folder. Later phases read only that folder, so nothing changes for them if a
source changes or disappears.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from lilift.data.data_report import DataReport, LexiconReport, TokenizerFindings
from lilift.data.languages import language
from lilift.data.lexicons.coverage import low_coverage
from lilift.data.lexicons.english_forms import count_words, find_names
from lilift.data.lexicons.lexicon import Lexicon
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.lexicons.lexicon_table import SUFFIX, write_lexicon
from lilift.data.monolingual_rows import share_of
from lilift.data.prepared_data import INSTRUCTIONS, LEXICONS, MONOLINGUAL, NAMES, REPORT, TRANSLATIONS, PreparedData
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import Example, TranslatedExample
from lilift.data.texts.instructions import load_instructions
from lilift.data.texts.monolingual import Document, MonolingualReport, as_text, load_monolingual
from lilift.data.texts.translations import TranslationReport, load_translations
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import DataError
from lilift.recipe.schema import Recipe

Examine = Callable[[PreparedData], TokenizerFindings]

_ENOUGH_WORDS = 20
"""From so many words of the instructions on, a lexicon without any of them is the wrong file; fewer words do not show it."""


def prepare(recipe: Recipe, folder: Path, held_out: HeldOut | None = None, examine: Examine | None = None) -> DataReport:
    """Read the data of a recipe, write it to `folder`, and seal the folder. Arguments as for `gather`.

    Raises:
        DataError: see `gather`.
        StorageError: the folder cannot be written.
    """
    data, report = gather(recipe, held_out, examine)
    storage.write_text(folder / INSTRUCTIONS, "".join(_json_lines(data.examples)))
    for code, lexicon in data.lexicons.items():
        write_lexicon(lexicon, folder / LEXICONS / f"{code}{SUFFIX}")
    storage.write_json(folder / NAMES, sorted(data.names))
    storage.write_json(folder / REPORT, report.as_dict())
    if data.translations:
        storage.write_text(folder / TRANSLATIONS, "".join(_json_lines(data.translations)))
    translated = [TRANSLATIONS] if data.translations else []
    texts = {f"{MONOLINGUAL}/{code}.txt": documents for code, documents in data.monolingual.items()}
    for name, documents in texts.items():
        storage.write_text(folder / name, as_text(documents))
    sealed_folders.seal_files(
        folder, [INSTRUCTIONS, NAMES, REPORT, *translated, *texts, *(f"{LEXICONS}/{code}{SUFFIX}" for code in data.lexicons)]
    )
    return report


def gather(recipe: Recipe, held_out: HeldOut | None = None, examine: Examine | None = None) -> tuple[PreparedData, DataReport]:
    """Read and count the data of a recipe, without writing anything.

    Args:
        recipe: names the sources.
        held_out: texts that training must not see.
        examine: finds what only the tokenizers can tell.

    Raises:
        DataError: instructions or a lexicon cannot be used, or a lexicon has none of the words of the instructions and
            these have at least 20 words; with fewer, the report warns of the coverage.
    """
    lexicons = load_lexicons(lexicon_locations(recipe))
    examples, instructions = load_instructions(
        recipe.data.instructions, recipe.seed, held_out=held_out, drop_contaminated=recipe.data.contaminated == "drop"
    )
    names = find_names(example.question for example in examples)
    counts = count_words((example.question for example in examples), names)
    translations, reports = _translations_of(recipe, held_out)
    measured = {code: _measured(lexicon, counts) for code, lexicon in lexicons.items()}
    texts, text_reports = _monolingual_of(recipe, held_out)
    report = DataReport(instructions, measured, reports, monolingual=text_reports)
    for code, found in report.lexicons.items():
        if found.coverage.covered == 0 and found.coverage.tokens >= _ENOUGH_WORDS:
            raise DataError(
                f"the lexicon of {language(code).name} ({code}) has none of the words of the instructions",
                where=_location_of(recipe, code),
                remedy="use a dictionary with one pair in each line and the English word first",
            )
    data = PreparedData(examples, lexicons, names, report.as_dict(), translations, texts)
    if examine is not None:
        report = replace(report, tokens=examine(data))
        data = replace(data, report=report.as_dict())
    return data, report


def _translations_of(recipe: Recipe, held_out: HeldOut | None) -> tuple[list[TranslatedExample], dict[str, TranslationReport]]:
    """The translated texts of every language, if a stage reads translations."""
    texts: list[TranslatedExample] = []
    reports: dict[str, TranslationReport] = {}
    for code in recipe.languages if recipe.uses_translations else ():
        found, reports[code] = load_translations(
            recipe.data.translations_of(code) or "",
            code,
            needs_response=recipe.translations_need_response,
            needs_english=recipe.translations_need_english,
            held_out=held_out,
            drop_contaminated=recipe.data.contaminated == "drop",
        )
        texts += found
    return texts, reports


def _monolingual_of(recipe: Recipe, held_out: HeldOut | None) -> tuple[dict[str, list[Document]], dict[str, MonolingualReport]]:
    """The running text of every language, if stage 1 or the adaptation of the encoder reads it."""
    texts: dict[str, list[Document]] = {}
    reports: dict[str, MonolingualReport] = {}
    for code, location in recipe.running_text.items():
        texts[code], reports[code] = load_monolingual(
            location,
            code,
            tokens=share_of(recipe),
            held_out=held_out,
            drop_contaminated=recipe.data.contaminated == "drop",
        )
    return texts, reports


def lexicon_locations(recipe: Recipe) -> dict[str, str]:
    """The place of each language's lexicon; empty if the recipe switches no words."""
    return {code: _location_of(recipe, code) for code in recipe.languages} if recipe.switches_words else {}


def _location_of(recipe: Recipe, code: str) -> str:
    location = recipe.data.lexicon_of(code)
    if location is None:
        raise DataError(
            f"the recipe names no lexicon for the language {code!r}", where="data.lexicons", remedy="add a dictionary file"
        )
    return location


def _measured(lexicon: Lexicon, counts: Mapping[str, int]) -> LexiconReport:
    coverage = lexicon.coverage(counts)
    low = low_coverage(lexicon.language.code, coverage, lexicon.sources)
    remarks = [text for source in lexicon.sources for text in source.remarks()]
    return LexiconReport(
        lexicon.source,
        len(lexicon.entries),
        lexicon.pairs,
        lexicon.dropped,
        coverage,
        (*remarks, *([low] if low else [])),
    )


def _json_lines(examples: Iterable[Example]) -> Iterator[str]:
    return (json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples)
