"""English texts with their translations: parallel sentences, or questions that somebody translated.

LinguaLIFT needs none of these; the methods that it is compared with do (MindMerger and QAlign learn from them in stage 1,
MultiReason in stage 2). A file has one text a row: ``english<TAB>translation[<TAB>response]`` without a header (.tsv, .txt), or
columns that are recognised (.jsonl, .json, .csv, .parquet, hub names), the ``translation`` objects of hub data sets among them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.languages import Language, language
from lilift.data.text_files import read_lines
from lilift.data.texts.columns import clean_response
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import TranslatedExample
from lilift.data.texts.row_files import is_local, read_rows
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import same_language
from lilift.recipe.schema import InstructionSettings

_ENGLISH = ("source", "question")
_RESPONSES = ("response", "answer", "solution", "output")
_PLAIN = (".tsv", ".txt")


@dataclass
class TranslationReport:
    """What was read of one language's translations, and what became of it."""

    source: str
    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)


def load_translations(
    location: str, code: str, *, needs_response: bool, held_out: HeldOut | None = None, drop_contaminated: bool = True
) -> tuple[list[TranslatedExample], TranslationReport]:
    """Read the translated texts of a language.

    Args:
        location: a file, a folder, or a name on the hub.
        code: the language.
        needs_response: leave out rows without one.
        held_out: what must not be trained on; English is compared.
        drop_contaminated: leave out rows that overlap with it.

    Raises:
        DataError: it cannot be found or read, its columns are not recognised, or no row is usable.
    """
    known, report = language(code), TranslationReport(location)
    dropped: Counter[str] = Counter()
    kept: list[TranslatedExample] = []
    seen: set[int] = set()
    for example in _read(location, known):
        report.read += 1
        pair = hash((example.question, example.text))
        reason = _unusable(example, known, needs_response)
        if reason is None and pair in seen:
            reason = "repeated"
        if reason is None and held_out is not None and drop_contaminated:
            overlap = held_out.find(example.question)
            reason = f"in {overlap.benchmark}" if overlap else None
        if reason is None:
            seen.add(pair)
            kept.append(example)
        else:
            dropped[reason] += 1
    report.kept, report.dropped = len(kept), dict(sorted(dropped.items()))
    if not kept:
        counts = ", ".join(f"{reason} {count}" for reason, count in dropped.most_common())
        raise DataError(
            f"none of {report.read} translated rows is usable for {known.name} ({counts})",
            where=location,
            remedy="give English in the first column, its translation in the second",
        )
    return kept, report


def _unusable(example: TranslatedExample, known: Language, needs_response: bool) -> str | None:
    if not example.question:
        return "empty English"
    if not example.text:
        return "empty translation"
    if needs_response and not example.response:
        return "no response"
    return None if known.writes_any(example.text) else "wrong script"


def _read(location: str, known: Language) -> Iterator[TranslatedExample]:
    path = Path(location).expanduser()
    if is_local(location) and any(suffix in _PLAIN for suffix in path.suffixes[-2:]):
        yield from _read_lines(path, known)
        return
    with tempfile.TemporaryDirectory(prefix="lilift-") as scratch:
        rows = read_rows(InstructionSettings(source=location), scratch, setting="data.translations")
        names = list(rows.column_names)
        english, translation, response = _columns(names, rows[0] if len(rows) else {}, known, location)
        for number, row in enumerate(rows, start=1):
            texts = row["translation"] if isinstance(row.get("translation"), Mapping) else row
            answer = str(row[response] or "") if response else ""
            yield _example(f"{path.name}:{number}", known, str(texts[english] or ""), str(texts[translation] or ""), answer)


def _read_lines(path: Path, known: Language) -> Iterator[TranslatedExample]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) not in (2, 3):
            raise DataError(
                f"the line has {len(cells)} columns instead of 2 or 3",
                where=f"{path}:{number}",
                remedy="write english<TAB>translation, and <TAB>response where there is one",
            )
        yield _example(f"{path.name}:{number}", known, cells[0], cells[1], cells[2] if len(cells) == 3 else "")


def _example(name: str, known: Language, english: str, translation: str, response: str) -> TranslatedExample:
    response, answer = clean_response(response)
    return TranslatedExample(name, english.strip(), response.strip(), answer, translation.strip(), known.code)


def _columns(names: Sequence[str], first: Mapping[str, Any], known: Language, location: str) -> tuple[str, str, str | None]:
    """Which columns hold English, translation and, if any does, the response."""
    inner = first.get("translation")
    there = list(inner) if isinstance(inner, Mapping) else list(names)

    def named(code: str) -> Iterator[str]:
        return (name for name in there if same_language(name.removeprefix("sentence_"), code))

    own = (*named(known.code), "translation", "translated", "target")
    english = (*named("en"), *_ENGLISH)
    found = [next((name for name in wanted if name in there), None) for wanted in (english, own)]
    if found[0] is None or found[1] is None:
        raise DataError(
            f"cannot tell English from {known.name} among the columns {', '.join(there)}",
            where=location,
            remedy=f"call them `english` and `{known.code}`",
        )
    return found[0], found[1], next((name for name in _RESPONSES if name in names), None)
