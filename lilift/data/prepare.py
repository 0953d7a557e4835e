"""The data phase: everything that training will read, gathered, counted and written down before a model is loaded.

    data/
      instructions.jsonl   one example a line
      translations.jsonl   English texts with their translations, where a stage reads them
      lexicons/sw.parquet  the usable pairs of each language's lexicon, with their sources and licences
      names.json           words that the instructions use as names, which are never swapped
      manifest.json        size and SHA-256 of each of these files: one changed bit is found
      report.json          what was read, kept and dropped, and how much of this text each lexicon covers

Later phases read this folder alone, so that a source that changes or vanishes in the meantime changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from lilift.data.languages import language
from lilift.data.lexicons.coverage import low_coverage
from lilift.data.lexicons.english_forms import count_words, find_names
from lilift.data.lexicons.lexicon import Coverage, Lexicon
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.lexicons.lexicon_table import SUFFIX, read_lexicon, write_lexicon
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import Example, TranslatedExample
from lilift.data.texts.instructions import InstructionReport, load_instructions
from lilift.data.texts.translations import TranslationReport, load_translations
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import DataError, RunFolderError
from lilift.recipe.schema import Recipe

INSTRUCTIONS = "instructions.jsonl"
TRANSLATIONS = "translations.jsonl"
LEXICONS = "lexicons"
NAMES = "names.json"
REPORT = "report.json"


@dataclass(frozen=True)
class LexiconReport:
    """What a lexicon holds, and how much of the training text it covers."""

    source: str
    entries: int
    pairs: int
    dropped: Mapping[str, int]
    coverage: Coverage
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """Everything the data phase counted."""

    instructions: InstructionReport
    lexicons: Mapping[str, LexiconReport]
    translations: Mapping[str, TranslationReport]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        lexicons = {
            code: asdict(report) | {"coverage": round(report.coverage.share, 4), "warnings": list(report.warnings)}
            for code, report in self.lexicons.items()
        }
        translations = {code: report.as_dict() for code, report in self.translations.items()}
        return {"instructions": self.instructions.as_dict(), "lexicons": lexicons, "translations": translations}

    def lines(self) -> list[str]:
        """The report for people, one line a source."""
        found = self.instructions
        columns = ", ".join(f"{role} ← {column}" for role, column in found.columns.items())
        text = f"instructions: {found.kept:,} of {found.read:,} rows from {found.source} ({found.layout}: {columns})"
        lines = [text + _reasons(found.dropped)]
        if found.same_question:
            lines.append(f"  {found.same_question:,} of them have the question of another row, with another response")
        lines += [f"  compared with {_compared(found, name, size)}" for name, size in found.benchmarks.items()]
        lines += [f"  not compared with {name}: {reason}" for name, reason in found.unchecked.items()]
        for code, report in self.lexicons.items():
            lines.append(
                f"lexicon {code} ({language(code).name}): {report.entries:,} words, {report.pairs:,} pairs, "
                f"covers {report.coverage.share:.0%} of the text's words" + _reasons(report.dropped)
            )
            lines += [f"  warning: {text}" for text in report.warnings]
        for code, texts in self.translations.items():
            lines.append(
                f"translations {code}: {texts.kept:,} of {texts.read:,} rows from {texts.source}" + _reasons(texts.dropped)
            )
        return lines


SomeExample = TypeVar("SomeExample", bound=Example)


class ExampleFile(Sequence[SomeExample]):
    """The examples of a prepared folder, read from the disk when they are asked for: 200,000 cost no memory."""

    def __init__(self, path: Path, kind: type[SomeExample]) -> None:
        self._path, self._kind = path, kind
        try:
            with path.open("rb") as file:
                lengths = [len(line) for line in file]
            self._file = path.open("rb")
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from None
        self._offsets = np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> SomeExample: ...
    @overload
    def __getitem__(self, index: slice) -> list[SomeExample]: ...
    def __getitem__(self, index: int | slice) -> SomeExample | list[SomeExample]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        self._file.seek(int(self._offsets[index]))
        try:
            return self._kind(**json.loads(self._file.readline().decode("utf-8")))
        except (ValueError, TypeError):
            raise _damaged(f"{self._path}:{index + 1}", "not an example") from None

    def __iter__(self) -> Iterator[SomeExample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class PreparedData:
    """What a run trains on.

    Attributes:
        examples: the English instructions.
        lexicons: by language.
        names: words (lower case) that are names even at the beginning of a sentence.
        report: what `DataReport.as_dict` was when the folder was written.
        translations: English texts with their translations, all languages one after the other.
    """

    examples: Sequence[Example]
    lexicons: Mapping[str, Lexicon]
    names: frozenset[str]
    report: Mapping[str, Any]
    translations: Sequence[TranslatedExample] = ()


def prepare(recipe: Recipe, folder: Path, held_out: HeldOut | None = None) -> DataReport:
    """Gather the data of a recipe in `folder`, and seal it.

    Raises:
        DataError: see `gather`.
        StorageError: the folder cannot be written.
    """
    data, report = gather(recipe, held_out)
    storage.write_text(folder / INSTRUCTIONS, "".join(_json_lines(data.examples)))
    for code, lexicon in data.lexicons.items():
        write_lexicon(lexicon, folder / LEXICONS / f"{code}{SUFFIX}")
    storage.write_json(folder / NAMES, sorted(data.names))
    storage.write_json(folder / REPORT, report.as_dict())
    if data.translations:
        storage.write_text(folder / TRANSLATIONS, "".join(_json_lines(data.translations)))
    translated = [TRANSLATIONS] if data.translations else []
    sealed_folders.seal_files(
        folder, [INSTRUCTIONS, NAMES, REPORT, *translated, *(f"{LEXICONS}/{code}{SUFFIX}" for code in data.lexicons)]
    )
    return report


def gather(recipe: Recipe, held_out: HeldOut | None = None) -> tuple[PreparedData, DataReport]:
    """Read and count the data of a recipe, without writing anything.

    Args:
        recipe: names them.
        held_out: what must not be trained on.

    Raises:
        DataError: instructions or a lexicon cannot be used, or a lexicon has none of the text's words.
    """
    lexicons = load_lexicons(lexicon_locations(recipe))
    examples, instructions = load_instructions(
        recipe.data.instructions, recipe.seed, held_out=held_out, drop_contaminated=recipe.data.contaminated == "drop"
    )
    names = find_names(example.question for example in examples)
    counts = count_words((example.question for example in examples), names)
    translations, reports = _translations_of(recipe, held_out)
    report = DataReport(instructions, {code: _measured(lexicon, counts) for code, lexicon in lexicons.items()}, reports)
    for code, found in report.lexicons.items():
        if found.coverage.covered == 0:
            raise DataError(
                f"the lexicon of {language(code).name} ({code}) has none of the words of the instructions",
                where=_location_of(recipe, code),
                remedy="give a dictionary with English words first, one pair a line",
            )
    return PreparedData(examples, lexicons, names, report.as_dict(), translations), report


def _translations_of(recipe: Recipe, held_out: HeldOut | None) -> tuple[list[TranslatedExample], dict[str, TranslationReport]]:
    """The translated texts of every language, if a stage reads any."""
    texts: list[TranslatedExample] = []
    reports: dict[str, TranslationReport] = {}
    for code in recipe.languages if recipe.uses_translations else ():
        found, reports[code] = load_translations(
            recipe.data.translations_of(code) or "",
            code,
            needs_response=recipe.translations_need_response,
            held_out=held_out,
            drop_contaminated=recipe.data.contaminated == "drop",
        )
        texts += found
    return texts, reports


def load_prepared(folder: Path) -> PreparedData:
    """What `prepare` left in `folder`.

    Raises:
        RunFolderError: something is missing or damaged.
    """
    try:
        sealed_folders.verify_sealed_folder(folder)
    except RunFolderError as error:
        raise _damaged(folder, error.what.removeprefix("is damaged: ")) from None
    report = storage.read_json(folder / REPORT)
    codes = report["lexicons"]
    lexicons = {code: _prepared_lexicon(folder, code) for code in codes}
    names = frozenset(storage.read_json(folder / NAMES))
    examples = ExampleFile(folder / INSTRUCTIONS, Example)
    if len(examples) != report["instructions"]["kept"]:
        raise _damaged(folder / INSTRUCTIONS, f"{len(examples)} of {report['instructions']['kept']} examples")
    translated = report.get("translations")
    translations = ExampleFile(folder / TRANSLATIONS, TranslatedExample) if translated else ()
    return PreparedData(examples, lexicons, names, report, translations)


def lexicon_locations(recipe: Recipe) -> dict[str, str]:
    """Where the lexicon of each language is, in a recipe that switches words."""
    return {code: _location_of(recipe, code) for code in recipe.languages} if recipe.switches_words else {}


def _location_of(recipe: Recipe, code: str) -> str:
    location = recipe.data.lexicon_of(code)
    if location is None:
        raise DataError(f"no lexicon is named for language {code!r}", where="data.lexicons", remedy="name a dictionary file")
    return location


def _prepared_lexicon(folder: Path, code: str) -> Lexicon:
    path = folder / LEXICONS / f"{code}{SUFFIX}"
    try:
        return read_lexicon(path, code)
    except DataError as error:
        raise _damaged(path, error.what) from None


def _measured(lexicon: Lexicon, counts: Mapping[str, int]) -> LexiconReport:
    coverage = lexicon.coverage(counts)
    low = low_coverage(lexicon.language.code, coverage)
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


def _reasons(dropped: Mapping[str, int]) -> str:
    found = ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items(), key=lambda item: -item[1]))
    return f"; left out: {found}" if found else ""


def _compared(found: InstructionReport, name: str, size: int) -> str:
    overlaps = found.contaminated.get(name, {})
    what = "left out" if f"in {name}" in found.dropped else "kept"
    text = ", ".join(f"{match} {count:,}" for match, count in overlaps.items())
    return f"the {size:,} questions of {name}: " + (f"{text}; {what}" if text else "no overlap")


def _damaged(where: Path | str, what: str) -> RunFolderError:
    return RunFolderError(f"the prepared data are damaged ({what})", where=where, remedy="run with --restart-from data")
