"""Keeps translations on the disk, one SQLite file for each translator and pair of languages.

A translation is in the file once `add` has returned, also after `kill -9` or a power cut. Several processes may use a file.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lilift.recipe.errors import StorageError
from lilift.recipe.storage import storage_errors

_AT_ONCE = 500
"""Texts in one query; SQLite takes at most 999 values in old builds."""
_SECONDS = 60.0
"""How long a process waits while another one writes."""
_SCAN_SHARE = 8
"""If a call asks for one text in this many of the file or more, reading the whole file is faster."""
_MAPPED = 2**30
"""Bytes of the file that SQLite maps into memory instead of copying pages."""
# With row ids, new rows stand at the end, and only the small index of digests grows in random places.
_TABLE = (
    "CREATE TABLE IF NOT EXISTS translations (digest BLOB NOT NULL UNIQUE, source TEXT NOT NULL, translation TEXT NOT NULL, "
    "flags INTEGER NOT NULL)"
)


@dataclass(frozen=True)
class Translation:
    """A translated text.

    Attributes:
        text: the translation.
        numbers_kept: whether every number of the text stands in the translation.
        complete: whether the translator ended by itself; False if it was stopped at the longest translation.
        tried_again: whether this is the second translation, sentence by sentence, because the first lost a number or was cut.
    """

    text: str
    numbers_kept: bool = True
    complete: bool = True
    tried_again: bool = False


def translations_folder() -> Path:
    """The folder of all caches: `lilift/translations` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "lilift" / "translations"


class TranslationCache:
    """The translations of one translator, from one language into another.

    Args:
        path: the file; it and its folder are made if they do not exist.

    Raises:
        StorageError: the file is damaged, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_TABLE)

    def __len__(self) -> int:
        with self._connection() as connection:
            return int(connection.execute("SELECT count(*) FROM translations").fetchone()[0])

    def get(self, texts: Sequence[str]) -> dict[str, Translation]:
        """The translations of those texts that the file has, by text."""
        digests = {_digest(text): text for text in texts}
        with self._connection() as connection:
            rows = self._all(connection) if _SCAN_SHARE * len(digests) > len(self) else self._some(connection, list(digests))
            return {
                digests[digest]: Translation(translation, not flags & 1, not flags & 2, bool(flags & 4))
                for digest, translation, flags in rows
                if digest in digests
            }

    @staticmethod
    def _all(connection: sqlite3.Connection) -> Iterator[tuple[bytes, str, int]]:
        yield from connection.execute("SELECT digest, translation, flags FROM translations")

    @staticmethod
    def _some(connection: sqlite3.Connection, digests: list[bytes]) -> Iterator[tuple[bytes, str, int]]:
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from connection.execute(
                f"SELECT digest, translation, flags FROM translations WHERE digest IN ({marks})", some
            )

    def add(self, translations: Mapping[str, Translation]) -> None:
        """Keep translations by text, all or none of them. A text that the file has already gets the new translation."""
        rows: Iterable[tuple[bytes, str, str, int]] = (
            (_digest(text), text, one.text, (not one.numbers_kept) | (not one.complete) << 1 | one.tried_again << 2)
            for text, one in translations.items()
        )
        with self._connection() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO translations VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_SECONDS)) as connection:
                connection.execute(f"PRAGMA mmap_size={_MAPPED}")
                yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot read or write this cache of translations ({error})",
                where=self._path,
                remedy="free some disk space, or delete the file; lilift then translates its texts again",
            ) from error


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
