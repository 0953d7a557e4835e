"""English texts with their translations: parallel sentences, or questions that somebody translated.

LinguaLIFT needs none of these; the methods that it is compared with do (MindMerger and QAlign learn from them in stage 1,
MultiReason in stage 2). lilift reads ``english<TAB>translation[<TAB>response]`` without a header (.tsv, .txt), two files with
the same number of lines (``train.en``, ``train.sw``), and columns whose names it recognises (.jsonl, .json, .csv, .tsv,
.parquet, hub names), the ``translation`` objects of hub data sets among them.

Stage 2 needs no English: it also reads questions that were asked in the language, such as those that people rated in
``lilift serve --ratings``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilift.data.composed_text import composed
from lilift.data.languages import Language, language
from lilift.data.rows.aligned_files import aligned_files, read_aligned_files
from lilift.data.rows.cells import UnusableRowError, text_of
from lilift.data.rows.row_files import Rows, is_local, open_rows
from lilift.data.text_files import read_lines
from lilift.data.texts.columns import clean_response
from lilift.data.texts.contamination import HeldOut
from lilift.data.texts.examples import TranslatedExample
from lilift.data.texts.row_languages import LANGUAGE_COLUMNS, is_in
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import same_language
from lilift.recipe.schema import InstructionSettings

_ENGLISH = ("source", "question")
_RESPONSES = ("response", "answer", "solution", "output")
_PLAIN = (".tsv", ".txt")
_RATED = frozenset(("question", "response", "right", "said"))
"""Columns of a file with ratings: its questions are in the language, and there is no English."""


@dataclass(frozen=True)
class _Columns:
    """Where a row's translation is and, if there are such columns, its English, its response and its language."""

    english: str | None
    translation: str
    response: str | None
    language: str | None


@dataclass
class TranslationReport:
    """How many rows of one language's translations were read, kept and left out, and why."""

    source: str
    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)


def load_translations(
    location: str,
    code: str,
    *,
    needs_response: bool,
    needs_english: bool = True,
    held_out: HeldOut | None = None,
    drop_contaminated: bool = True,
) -> tuple[list[TranslatedExample], TranslationReport]:
    """Read the translated texts of a language.

    Args:
        location: a file, a folder, either of two aligned files, or a name on the hub.
        code: the language.
        needs_response: leave out rows without one.
        needs_english: leave out rows without English.
        held_out: what must not be trained on; English and translation are compared.
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
        if isinstance(example, str):
            dropped[example] += 1
            continue
        pair = hash((example.question, example.text))
        reason = _unusable(example, known, needs_response, needs_english)
        if reason is None and pair in seen:
            reason = "repeated"
        if reason is None and held_out is not None and drop_contaminated:
            overlap = held_out.find(example.question) or held_out.find(example.text)
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
            remedy=_remedy(dropped),
        )
    return kept, report


def _remedy(dropped: Counter[str]) -> str:
    most = dropped.most_common(1)[0][0] if dropped else ""
    if most.startswith("in ") and most != "in another language":
        return "set data.contaminated to keep if you do not evaluate on this benchmark"
    if most == "no response":
        return "give each row a response"
    return "give English in the first column, its translation in the second"


def _unusable(example: TranslatedExample, known: Language, needs_response: bool, needs_english: bool) -> str | None:
    if needs_english and not example.question:
        return "empty English"
    if not example.text:
        return "empty translation"
    if needs_response and not example.response:
        return "no response"
    return None if known.writes_any(example.text) else "wrong script"


def _read(location: str, known: Language) -> Iterator[TranslatedExample | str]:
    """An example for each row, or the reason why the row cannot be used."""
    path = Path(location).expanduser()
    if is_local(location):
        if pairs := aligned_files(path, known):
            yield from _read_pairs(pairs, known)
            return
        if any(suffix in _PLAIN for suffix in path.suffixes[-2:]):
            yield from _read_rows(location, known, "tsv") if _has_header(path, known) else _read_lines(path, known)
            return
    yield from _read_rows(location, known)


def _read_rows(location: str, known: Language, kind: str | None = None) -> Iterator[TranslatedExample | str]:
    rows = open_rows(InstructionSettings(source=location), setting="data.translations", kind=kind)
    name = Path(location).name
    columns = _recognised(rows, known)
    for number, row in enumerate(rows.read(), start=1):
        if columns.language is not None and not is_in(row.get(columns.language), known.code):
            yield "in another language"
            continue
        found = row.get("translation")
        texts = found if isinstance(found, Mapping) else row
        try:
            english = text_of(texts.get(columns.english), "English") if columns.english else ""
            translation = text_of(texts.get(columns.translation), "translation")
            response = text_of(row.get(columns.response), "response") if columns.response else ""
        except UnusableRowError as reason:
            yield str(reason)
            continue
        yield _example(f"{name}:{number}", known, english, translation, response)


def _recognised(rows: Rows, known: Language) -> _Columns:
    names: list[str] = []
    for all_names, sample in rows.samples():
        inner = next((row["translation"] for row in sample if isinstance(row.get("translation"), Mapping)), None)
        names = list(inner) if inner is not None else all_names
        found = _find_columns(names, all_names, known)
        if found is not None:
            return found
    raise DataError(
        f"cannot tell English from {known.name} among the columns {', '.join(names)}",
        where=rows.source,
        remedy=f"call them `english` and `{known.code}`",
    )


def _has_header(path: Path, known: Language) -> bool:
    """Whether the first line of a file with tabs names its columns."""
    first = next(iter(read_lines(path, recode=True)), (0, ""))[1]
    names = [name.strip().strip('"') for name in first.split("\t")]
    return len(names) > 1 and _find_columns(names, names, known) is not None


def _read_pairs(pairs: Sequence[tuple[Path, Path]], known: Language) -> Iterator[TranslatedExample]:
    for english, translated in pairs:
        for number, (one, other) in enumerate(read_aligned_files(english, translated), start=1):
            yield _example(f"{translated.name}:{number}", known, one, other, "")


def _read_lines(path: Path, known: Language) -> Iterator[TranslatedExample]:
    for number, line in read_lines(path, recode=True):
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
    english, translation, response = map(composed, (english, translation, response))
    response, answer = clean_response(response)
    return TranslatedExample(name, english.strip(), response.strip(), answer, translation.strip(), known.code)


def _find_columns(texts: Sequence[str], names: Sequence[str], known: Language) -> _Columns | None:
    """Which columns hold English, translation and response, or None if there are no such columns.

    Args:
        texts: the names among which the two texts are: the columns, or the keys of a ``translation`` object.
        names: all columns.
        known: the language of the translation.
    """

    def named(code: str) -> Iterator[str]:
        return (name for name in texts if same_language(name.removeprefix("sentence_"), code))

    # A file of `lilift data translate` has the translated `question` beside its `english`.
    own = (*named(known.code), "translation", "translated", "target", *(["question"] if any(named("en")) else []))
    english = (*named("en"), *_ENGLISH)
    if set(names) >= _RATED and not any(named("en")):
        return _Columns(None, "question", "response", next((name for name in LANGUAGE_COLUMNS if name in names), None))
    found = [next((name for name in wanted if name in texts), None) for wanted in (english, own)]
    if found[0] is None or found[1] is None:
        return None
    response, language = (next((name for name in wanted if name in names), None) for wanted in (_RESPONSES, LANGUAGE_COLUMNS))
    return _Columns(found[0], found[1], response, language)
