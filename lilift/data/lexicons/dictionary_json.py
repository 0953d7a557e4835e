"""Pairs of words from JSON: Wiktionary as kaikki.org publishes it, rows with a language a key, or one object of words.

- A line of kaikki.org is one entry of a word. Entries of the language give the word and its English glosses. English entries
  give the word and its translations, if the edition has them. Entries of other languages are passed over.
- Rows name their languages as the header of a table does: ``{"english": "water", "my": "ရေ"}``.
- One object maps words to words, in either direction: ``{"water": "ရေ"}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lilift.data.languages import Language
from lilift.data.lexicons.dictionary_columns import Columns, header_columns, is_turned
from lilift.data.lexicons.pair_filters import alternatives
from lilift.data.rows.json_rows import read_json_rows
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError
from lilift.recipe.names.language_names import same_language

_NAMES = (".json", ".jsonl", ".ndjson")
_BEGINNING = re.compile(r'\s*(?:\{\s*"|\[\s*\{)')
# Senses that only point to another entry, or that nobody uses today. Their gloss is no translation.
_OTHER_SENSES = frozenset(("form-of", "alt-of", "obsolete", "archaic", "misspelling", "romanization"))
_REMARK = re.compile(r"\s*\([^()]*\)\s*")
_ARTICLE = re.compile(r"(?:an?|the) (?=\S+$)", re.IGNORECASE)


def is_json(path: Path) -> bool:
    """Whether a dictionary is JSON, by its name or its first line.

    Raises:
        DataError: the file cannot be read.
    """
    if any(suffix.lower() in _NAMES for suffix in path.suffixes):
        return True
    first = next((line for _, line in read_lines(path, recode=True) if line.strip()), "")
    return _BEGINNING.match(first) is not None


def json_pairs(path: Path, known: Language) -> Iterator[tuple[str, str]]:
    """The English entries and translations of a JSON file, row by row.

    Raises:
        DataError: the file cannot be read, or no row names English and the language.
    """
    rows = read_json_rows(path)
    head = list(islice(rows, 2))
    if len(head) == 1 and not _is_entry(head[0]) and _columns(head[0], known) is None:
        yield from _pairs_of_object(path, head[0], known)
        return
    read = used = 0
    for row in chain(head, rows):
        read += 1
        pairs = list((_pairs_of_entry if _is_entry(row) else _pairs_of_row)(row, known))
        used += bool(pairs)
        yield from pairs
    if not used:
        names = ", ".join(map(str, head[0])) if head else ""
        entries = "entries" if head and _is_entry(head[0]) else f"rows (their keys: {names[:200]})"
        raise DataError(
            f"none of {read} {entries} has English and {known.name} ({known.code})",
            where=path,
            remedy=f"give kaikki.org's file of {known.name}, or rows such as "
            f'{{"english": "water", "{known.code}": "…"}}, or write english<TAB>translation',
        )


def _is_entry(row: Mapping[str, Any]) -> bool:
    """Whether a row is an entry as wiktextract writes it."""
    return "word" in row and "lang_code" in row and ("senses" in row or "translations" in row)


def _pairs_of_entry(row: Mapping[str, Any], known: Language) -> Iterator[tuple[str, str]]:
    word, code = row["word"], row["lang_code"]
    if not isinstance(word, str) or not isinstance(code, str):
        return
    senses = [sense for sense in _list(row.get("senses")) if isinstance(sense, dict)]
    if same_language(code, known.code):
        for sense in senses:
            tags = {tag for tag in _list(sense.get("tags")) if isinstance(tag, str)}
            # Glosses go from the general to the particular: the last one is that of this sense.
            glosses = [gloss for gloss in _list(sense.get("glosses")) if isinstance(gloss, str)][-1:]
            for gloss in glosses if not tags & _OTHER_SENSES else ():
                for english in _words_of(gloss):
                    yield english, word
    elif code == "en":
        for given in chain(_list(row.get("translations")), *(_list(sense.get("translations")) for sense in senses)):
            if isinstance(given, dict) and isinstance(given.get("word"), str):
                named = given.get("lang_code") or given.get("code") or given.get("lang")
                if isinstance(named, str) and same_language(named, known.code):
                    yield word, given["word"]


def _words_of(gloss: str) -> Iterator[str]:
    """The English words of a gloss: ``(formal) a house; home`` gives ``house`` and ``home``."""
    for part in alternatives(_REMARK.sub(" ", gloss).strip().rstrip(".")):
        if part.strip():
            yield _ARTICLE.sub("", part.strip())


def _pairs_of_row(row: Mapping[str, Any], known: Language) -> Iterator[tuple[str, str]]:
    nested = row.get("translation")
    if isinstance(nested, dict):  # rows of parallel texts on the Hugging Face hub
        row = nested
    columns = _columns(row, known)
    if columns is None:
        return
    cells = list(row.values())
    for english in _texts(cells[columns.english]):
        for translation in _texts(cells[columns.translation]):
            yield english, translation


def _columns(row: Mapping[str, Any], known: Language) -> Columns | None:
    found = header_columns([str(name) for name in row], known)
    return found if isinstance(found, Columns) and min(found.english, found.translation) >= 0 else None


def _pairs_of_object(path: Path, row: Mapping[str, Any], known: Language) -> Iterator[tuple[str, str]]:
    pairs = [(word, text) for word, given in row.items() for text in _texts(given)]
    if not pairs:
        raise DataError(
            "the JSON has no pairs of words", where=path, remedy='write an object such as {"water": "…"}, or one object a row'
        )
    turned = is_turned(pairs, known)
    yield from ((other, word) if turned else (word, other) for word, other in pairs)


def _texts(value: Any) -> Iterable[str]:
    return [text for text in _list(value) if isinstance(text, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
