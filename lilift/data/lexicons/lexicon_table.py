"""Lexicons on disk: one Parquet file each, a row a pair, provenance and licences in the file's metadata.

Parquet because it is a table with types that every data tool opens (pandas, DuckDB, `datasets`), compresses a dictionary of
100,000 pairs to about a megabyte, keeps notes of its own, and pyarrow, which writes it, comes with `datasets` anyway.

    english: string, translation: string, weight: double, source: dictionary of strings
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lilift.data.languages import language
from lilift.data.lexicons.lexicon import Lexicon, Source, Translation
from lilift.recipe import storage
from lilift.recipe.errors import DataError

SUFFIX = ".parquet"
MAGIC = b"PAR1"
_COLUMNS = ("english", "translation", "weight", "source")
_NOTES = b"lilift"
_FORMAT = 2


def write_lexicon(lexicon: Lexicon, path: Path) -> None:
    """Replace `path` by this lexicon; the same lexicon gives the same bytes.

    Raises:
        StorageError: it cannot be written; the old file, if any, is untouched.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(word, item.text, item.weight, item.source) for word, found in lexicon.entries.items() for item in found]
    english, translations, weights, sources = zip(*rows, strict=True)
    notes = {
        "format": _FORMAT,
        "language": lexicon.language.code,
        "sources": [asdict(source) for source in lexicon.sources],
    }
    table = pa.table(
        [
            pa.array(english, pa.string()),
            pa.array(translations, pa.string()),
            pa.array(weights, pa.float64()),
            pa.array(sources, pa.string()).dictionary_encode(),
        ],
        names=list(_COLUMNS),
        metadata={_NOTES: json.dumps(notes, ensure_ascii=False).encode("utf-8")},
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    storage.write_bytes(path, buffer.getvalue().to_pybytes())


def read_lexicon(path: Path, code: str | None = None) -> Lexicon:
    """Read a lexicon that `write_lexicon` wrote.

    Args:
        path: the file.
        code: the language that it must be for; any if left out.

    Raises:
        DataError: it cannot be read, is no lexicon, has no pair, or is for another language.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        if content and path.suffix != SUFFIX and not content.startswith(MAGIC):
            raise DataError(
                "cannot read the lexicon: this is a dictionary file, and no lexicon yet",
                where=path,
                remedy=f"first make one: `lilift lexicon import {shlex.quote(str(path))} --language CODE --into mine`",
            )
        table = pq.read_table(pa.BufferReader(content))
    except OSError as error:  # pyarrow's errors for damaged files are OSErrors without a number
        reason = error.strerror or "damaged or no Parquet file"
        raise DataError(f"cannot read the lexicon ({reason})", where=path, remedy="import or fetch it again") from None
    except pa.ArrowException:
        raise DataError("cannot read the lexicon (damaged)", where=path, remedy="import or fetch it again") from None
    notes = _notes_of(table.schema, path)
    if code is not None and notes["language"] != code:
        raise DataError(
            f"is a lexicon of {language(notes['language']).name} ({notes['language']}), not of {language(code).name} ({code})",
            where=path,
        )
    entries: dict[str, list[Translation]] = {}
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    for english, translation, weight, source in zip(*columns, strict=True):
        entries.setdefault(english, []).append(Translation(translation, weight, source))
    if not entries:
        raise DataError("the lexicon has no pair", where=path, remedy="import or fetch it again")
    sources = tuple(_source(source) for source in notes["sources"])
    return Lexicon(language(notes["language"]), {word: tuple(found) for word, found in entries.items()}, sources)


def read_sources(path: Path) -> tuple[Source, ...]:
    """Where the pairs of a lexicon come from, without its pairs.

    Raises:
        DataError: the file cannot be read or is no lexicon.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        raise DataError("cannot read the lexicon", where=path, remedy="import or fetch it again") from None
    return tuple(_source(source) for source in _notes_of(schema, path)["sources"])


def _source(notes: dict[str, Any]) -> Source:
    examples = {reason: tuple(found) for reason, found in notes.get("examples", {}).items()}
    return Source(**(notes | {"examples": examples}))


def _notes_of(schema: Any, path: Path) -> dict[str, Any]:
    metadata = schema.metadata or {}
    if _NOTES not in metadata or not set(_COLUMNS) <= set(schema.names):
        raise DataError(
            f"is a Parquet file, but no lexicon of lilift's: its columns are {', '.join(schema.names)}",
            where=path,
            remedy="write a TSV file with english<TAB>translation and import that",
        )
    notes: dict[str, Any] = json.loads(metadata[_NOTES])
    if notes["format"] > _FORMAT:
        raise DataError("was written by a newer lilift", where=path, remedy="update lilift")
    return notes
