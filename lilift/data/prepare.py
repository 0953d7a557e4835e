"""The data phase: reads all training data, counts it and writes it to one folder, before lilift loads any model.

    data/
      instructions.jsonl   one example in each line
      translations.jsonl   English texts with their translations, if a stage reads them
      lexicons/sw.parquet  the usable pairs of each language's lexicon, with their sources and licences
      names.json           words that the instructions use as names; they are never swapped
      manifest.json        size and SHA-256 of each of these files, so that lilift notices every change
      report.json          what was read, kept and dropped, and how much of this text each lexicon covers

Later phases read only this folder. So nothing changes for them if a source changes or disappears later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from lilift.data.languages import language
from lilift.data.lexicons.english_forms import count_words, find_names
from lilift.data.lexicons.lexicon import Coverage, Lexicon
from lilift.data.lexicons.lexicon_folder import load_lexicons
from lilift.data.lexicons.lexicon_table import SUFFIX, read_lexicon, write_lexicon
from lilift.data.losses import warnings_of_rows
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
_DAMAGED = "the prepared data are damaged ({reason})"
_REMEDY = "run the command again with --restart-from data"


@dataclass(frozen=True)
class LexiconReport:
    """The size of a lexicon, and how much of the training text it covers."""

    source: str
    entries: int
    pairs: int
    dropped: Mapping[str, int]
    coverage: Coverage


@dataclass(frozen=True)
class TokenizerFindings:
    """What only the tokenizers can tell of the data.

    Attributes:
        long_rows: warnings of rows that are too long for the recipe's limits.
        control_tokens: how many rows spell out each control token, such as ``</s>``.
    """

    long_rows: tuple[str, ...] = ()
    control_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DataReport:
    """Everything the data phase counted."""

    instructions: InstructionReport
    lexicons: Mapping[str, LexiconReport]
    translations: Mapping[str, TranslationReport]
    tokens: TokenizerFindings = TokenizerFindings()

    @property
    def warnings(self) -> list[str]:
        """One line for each loss of more than 5%."""
        sources: list[InstructionReport | TranslationReport] = [self.instructions, *self.translations.values()]
        lost = [line for found in sources for line in warnings_of_rows(found.source, found.read, found.dropped)]
        return [*lost, *self.tokens.long_rows]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        lexicons = {
            code: asdict(report) | {"coverage": round(report.coverage.share, 4)} for code, report in self.lexicons.items()
        }
        translations = {code: report.as_dict() for code, report in self.translations.items()}
        return {
            "instructions": self.instructions.as_dict(),
            "lexicons": lexicons,
            "translations": translations,
            "control_tokens": dict(self.tokens.control_tokens),
            "warnings": self.warnings,
        }

    def lines(self) -> list[str]:
        """The report as lines to print, one for each source."""
        found = self.instructions
        columns = ", ".join(f"{role} ← {column}" for role, column in found.columns.items())
        text = f"instructions: {found.kept:,} of {found.read:,} rows from {found.source} ({found.layout}: {columns})"
        lines = [text + _reasons(found.dropped)]
        if found.same_question:
            lines.append(f"  {found.same_question:,} of them have the same question as another row, but another response")
        if found.bare_numbers:
            lines.append(f"  {found.bare_numbers:,} of them have a bare number as response, which teaches no reasoning")
        lines += [f"  compared with {_compared(found, name, size)}" for name, size in found.benchmarks.items()]
        lines += [f"  not compared with {name}: {reason}" for name, reason in found.unchecked.items()]
        if self.tokens.control_tokens:
            spelled = ", ".join(f"{token} in {count:,}" for token, count in self.tokens.control_tokens.items())
            lines.append(f"  rows that spell out control tokens, which are read as text: {spelled}")
        for code, report in self.lexicons.items():
            lines.append(
                f"lexicon {code}: {report.entries:,} words, {report.pairs:,} pairs, "
                f"covers {report.coverage.share:.0%} of the text's words" + _reasons(report.dropped)
            )
        for code, texts in self.translations.items():
            lines.append(
                f"translations {code}: {texts.kept:,} of {texts.read:,} rows from {texts.source}" + _reasons(texts.dropped)
            )
        return lines + self.warnings


SomeExample = TypeVar("SomeExample", bound=Example)


class ExampleFile(Sequence[SomeExample]):
    """The examples of a prepared folder, read from disk one by one when needed, so that even 200,000 take no memory."""

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
            raise _damaged(f"{self._path}:{index + 1}", "the line is not an example") from None

    def __iter__(self) -> Iterator[SomeExample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class PreparedData:
    """The training data of a run.

    Attributes:
        examples: the English instructions.
        lexicons: the lexicon of each language.
        names: words (in lower case) that are names even at the beginning of a sentence.
        report: the result of `DataReport.as_dict` when the folder was written.
        translations: English texts with their translations, one language after the other.
    """

    examples: Sequence[Example]
    lexicons: Mapping[str, Lexicon]
    names: frozenset[str]
    report: Mapping[str, Any]
    translations: Sequence[TranslatedExample] = ()


Examine = Callable[[PreparedData], TokenizerFindings]


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
    sealed_folders.seal_files(
        folder, [INSTRUCTIONS, NAMES, REPORT, *translated, *(f"{LEXICONS}/{code}{SUFFIX}" for code in data.lexicons)]
    )
    return report


def gather(recipe: Recipe, held_out: HeldOut | None = None, examine: Examine | None = None) -> tuple[PreparedData, DataReport]:
    """Read and count the data of a recipe, without writing anything.

    Args:
        recipe: names the sources.
        held_out: texts that training must not see.
        examine: finds what only the tokenizers can tell.

    Raises:
        DataError: instructions or a lexicon cannot be used, or a lexicon has none of the words of the instructions.
    """
    lexicons = load_lexicons(lexicon_locations(recipe))
    examples, instructions = load_instructions(
        recipe.data.instructions, recipe.seed, held_out=held_out, drop_contaminated=recipe.data.contaminated == "drop"
    )
    names = find_names(example.question for example in examples)
    counts = count_words((example.question for example in examples), names)
    translations, reports = _translations_of(recipe, held_out)
    measured = {code: _measured(lexicon, counts) for code, lexicon in lexicons.items()}
    report = DataReport(instructions, measured, reports)
    for code, found in report.lexicons.items():
        if found.coverage.covered == 0:
            raise DataError(
                f"the lexicon of {language(code).name} ({code}) has none of the words of the instructions",
                where=_location_of(recipe, code),
                remedy="use a dictionary with one pair in each line and the English word first",
            )
    data = PreparedData(examples, lexicons, names, report.as_dict(), translations)
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
            held_out=held_out,
            drop_contaminated=recipe.data.contaminated == "drop",
        )
        texts += found
    return texts, reports


def load_prepared(folder: Path) -> PreparedData:
    """Read what `prepare` wrote to `folder`.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    sealed_folders.verify_part(folder, if_damaged=_REMEDY, message=_DAMAGED)
    report = storage.read_json(folder / REPORT)
    codes = report["lexicons"]
    lexicons = {code: _prepared_lexicon(folder, code) for code in codes}
    names = frozenset(storage.read_json(folder / NAMES))
    examples = ExampleFile(folder / INSTRUCTIONS, Example)
    if len(examples) != report["instructions"]["kept"]:
        raise _damaged(folder / INSTRUCTIONS, f"it has {len(examples)} of {report['instructions']['kept']} examples")
    translated = report.get("translations")
    translations = ExampleFile(folder / TRANSLATIONS, TranslatedExample) if translated else ()
    return PreparedData(examples, lexicons, names, report, translations)


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


def _prepared_lexicon(folder: Path, code: str) -> Lexicon:
    path = folder / LEXICONS / f"{code}{SUFFIX}"
    try:
        return read_lexicon(path, code)
    except DataError as error:
        raise _damaged(path, error.what) from None


def _measured(lexicon: Lexicon, counts: Mapping[str, int]) -> LexiconReport:
    return LexiconReport(lexicon.source, len(lexicon.entries), lexicon.pairs, lexicon.dropped, lexicon.coverage(counts))


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
    return RunFolderError(_DAMAGED.format(reason=what), where=where, remedy=_REMEDY)
