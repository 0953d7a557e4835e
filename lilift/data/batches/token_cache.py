"""Tokens of texts, remembered on the disk: a stage reads a text several times, and tokenises it once.

A text is read when a stage's lengths are counted, when its steps are, and in every epoch; a question that is switched anew each
time is another text then, its English target is not. What is remembered lies in one SQLite file that is mapped into memory.
Entries are found by a digest of the text, of the tokenizer, and of what is done with it, so none can be out of date. They are
written in transactions, so a killed process leaves whole ones, and each has a checksum. A cache that fails (no room, no locks
on a network drive, a damaged file) costs time, never a run and never a token.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIMIT = (2 << 30) - (64 << 10)
"""Bytes of a cache at most, as much as SQLite maps into memory; what comes after that is tokenised each time."""

_FORMAT = "1"  # raise it when tokens are made of texts in another way
_CHECKSUM_BYTES = 4

Tokenise = Callable[[list[str]], Iterable[Sequence[int]]]


class TokenCache:
    """Tokens by text.

    Args:
        path: the file; made if need be, replaced if it is damaged.
        limit: bytes at most.
    """

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._full = False
        self._database: sqlite3.Connection | None = None
        self._open()
        if self._database is None:
            self._open()  # the damaged file is gone now

    def tokens(self, use: str, texts: Sequence[str], tokenise: Tokenise) -> list[tuple[int, ...]]:
        """The tokens of each text, remembered or made.

        Args:
            use: names tokenizer and purpose: everything that the tokens depend on besides the text.
            texts: in any number and order.
            tokenise: gives the tokens of the texts that are not remembered, each of them once.
        """
        scope = hashlib.blake2b(f"{_FORMAT} {use}".encode(), digest_size=32).digest()
        keys = {text: _key(scope, text) for text in texts}
        found = {text: ids for text, key in keys.items() if (ids := self._read(key)) is not None}
        missing = [text for text in keys if text not in found]
        if missing:
            made = {text: tuple(ids) for text, ids in zip(missing, tokenise(missing), strict=True)}
            self._write((keys[text], ids) for text, ids in made.items())
            found |= made
        return [found[text] for text in texts]

    def close(self) -> None:
        """Leave the file for another time."""
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def discard(self) -> None:
        """Delete the file."""
        self.close()
        for path in (self.path, self.path.with_name(self.path.name + "-journal")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _open(self) -> None:
        """Connect; a file that is of no use is deleted instead."""
        try:
            # Used by one thread at a time, whichever that is.
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            for setting in (
                "locking_mode = EXCLUSIVE",  # the run folder is this process's alone
                "synchronous = OFF",  # a power cut may damage it: then it is made again
                f"mmap_size = {self._limit}",
                f"max_page_count = {self._limit // 4096}",
            ):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute("CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, ids BLOB NOT NULL) WITHOUT ROWID")
        except sqlite3.Error:
            self.discard()

    def _read(self, key: bytes) -> tuple[int, ...] | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT ids FROM tokens WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error:
            self.discard()
            return None
        return None if row is None else _unpacked(key, row[0])

    def _write(self, entries: Iterable[tuple[bytes, tuple[int, ...]]]) -> None:
        if self._database is None or self._full:
            return
        try:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR REPLACE INTO tokens VALUES (?, ?)", ((key, _packed(key, ids)) for key, ids in entries)
            )
            self._database.execute("COMMIT")
        except sqlite3.OperationalError:  # the limit, or the disk: what is there can still be read
            self._full = True
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
        except sqlite3.Error:
            self.discard()


@contextlib.contextmanager
def token_cache(folder: Path) -> Iterator[TokenCache]:
    """A cache in `folder` for the time of a stage: it stays where the stage is interrupted, and goes when it is done."""
    cache = TokenCache(folder / "tokens.sqlite")
    try:
        yield cache
        cache.discard()
    finally:
        cache.close()


def identity_of(tokenizer: Any) -> str | None:
    """A digest of all that a tokenizer makes of a text; None where that cannot be told, and nothing may be remembered.

    Args:
        tokenizer: one of lilift's encoder tokenizers, or of transformers' tokenizers.
    """
    own: str | None = getattr(tokenizer, "identity", None)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if own is not None or backend is None:
        return own
    made_by = f"{version('tokenizers')} {version('transformers')} {getattr(tokenizer, 'split_special_tokens', False)}"
    return hashlib.sha256(f"{made_by} {backend.to_str()}".encode()).hexdigest()


def _key(scope: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=scope).digest()


def _packed(key: bytes, ids: tuple[int, ...]) -> bytes:
    content = array("i", ids).tobytes()
    return zlib.crc32(key + content).to_bytes(_CHECKSUM_BYTES, "little") + content


def _unpacked(key: bytes, stored: bytes) -> tuple[int, ...] | None:
    """The tokens, or None if they are not as they were written."""
    checksum, content = stored[:_CHECKSUM_BYTES], stored[_CHECKSUM_BYTES:]
    if zlib.crc32(key + content).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    return tuple(array("i", content))
