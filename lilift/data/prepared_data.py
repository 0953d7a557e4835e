"""The folder that the data phase writes, as the later phases read it.

data/
  instructions.jsonl   one example in each line
  translations.jsonl   English texts with their translations, if a stage reads them
  monolingual/sw.txt   running text of each language, if the recipe has any
  lexicons/sw.parquet  the usable pairs of each language's lexicon, with their sources and licences
  names.json           words that the instructions use as names; they are never swapped
  template.json        the prompt template of the run
  manifest.json        size and SHA-256 of each of these files but the template, which has its own
  report.json          what was read, kept and dropped, and how much of this text each lexicon covers
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from lilift.data.lexicons.lexicon import Lexicon
from lilift.data.lexicons.lexicon_table import SUFFIX, read_lexicon
from lilift.data.texts.examples import Example, TranslatedExample
from lilift.data.texts.monolingual import Document, DocumentFile
from lilift.recipe import sealed_folders, storage
from lilift.recipe.errors import DataError, RunFolderError

INSTRUCTIONS = "instructions.jsonl"
TRANSLATIONS = "translations.jsonl"
MONOLINGUAL = "monolingual"
LEXICONS = "lexicons"
NAMES = "names.json"
REPORT = "report.json"
_DAMAGED = "the prepared data are damaged ({reason})"
_REMEDY = "restore it from a copy, or delete data/done.json and run again with --resume; lilift prepares the data again"


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
        monolingual: the running text of each language, document by document.
    """

    examples: Sequence[Example]
    lexicons: Mapping[str, Lexicon]
    names: frozenset[str]
    report: Mapping[str, Any]
    translations: Sequence[TranslatedExample] = ()
    monolingual: Mapping[str, Iterable[Document]] = field(default_factory=dict)


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
    monolingual = {code: DocumentFile(folder / MONOLINGUAL / f"{code}.txt") for code in report.get("monolingual", ())}
    return PreparedData(examples, lexicons, names, report, translations, monolingual)


def _prepared_lexicon(folder: Path, code: str) -> Lexicon:
    path = folder / LEXICONS / f"{code}{SUFFIX}"
    try:
        return read_lexicon(path, code)
    except DataError as error:
        raise _damaged(path, error.what) from None


def _damaged(where: Path | str, what: str) -> RunFolderError:
    return RunFolderError(_DAMAGED.format(reason=what), where=where, remedy=_REMEDY)
