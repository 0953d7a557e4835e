"""Caches the tokens of texts on disk, so that a stage tokenizes a text once although it reads it several times.

A stage reads a text when it counts lengths, when it counts steps, and in every epoch. A code-switched question is a new text
each time, but its English target stays the same. The cache is one SQLite file that is mapped into memory. The key of an entry
is a digest of the text, the tokenizer and the purpose, so an entry is never out of date. lilift writes entries in transactions,
so a killed process leaves only complete ones, and each entry has a checksum. If the cache fails (no room, no locks on a network
drive, a damaged file), the run takes longer, but it does not stop and its tokens do not change.
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
"""Largest size of a cache in bytes, which SQLite can map into memory; later texts are tokenized each time."""

_FORMAT = "2"  # increase it when lilift tokenizes texts in another way
_CHECKSUM_BYTES = 4

Tokenise = Callable[[list[str]], Iterable[Sequence[int]]]


class TokenCache:
    """A cache from texts to tokens.

    Args:
        path: the file; it is created if it is missing and replaced if it is damaged.
        limit: largest size in bytes.
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
        """The tokens of each text, from the cache or from the tokenizer.

        Args:
            use: names the tokenizer and the purpose: everything except the text that the tokens depend on.
            texts: any number of texts.
            tokenise: tokenizes the texts that are not in the cache; it gets each text once.
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
        """Close the file and keep it for a later run."""
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
        """Connect to the file, or delete it if it cannot be used."""
        try:
            # Only one thread at a time uses it, but not always the same one.
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            for setting in (
                "locking_mode = EXCLUSIVE",  # only this process uses the run folder
                "synchronous = OFF",  # a power cut may damage the file, and lilift then makes it again
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
        except sqlite3.OperationalError:  # the cache or the disk is full; existing entries stay readable
            self._full = True
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
        except sqlite3.Error:
            self.discard()


@contextlib.contextmanager
def token_cache(folder: Path, process: int = 0) -> Iterator[TokenCache]:
    """A cache in `folder` for one stage; it stays if the stage is interrupted, and is deleted when the stage is complete.

    Each of several processes has a file of its own, because SQLite would have to lock a common one on a network drive.
    """
    cache = TokenCache(folder / (f"tokens-{process}.sqlite" if process else "tokens.sqlite"))
    try:
        yield cache
        cache.discard()
    finally:
        cache.close()


def forget_caches(folder: Path) -> None:
    """Delete the caches of processes that no longer take part: an earlier start of the stage may have had more of them."""
    for path in folder.glob("tokens-*.sqlite*"):
        with contextlib.suppress(OSError):
            path.unlink()


def identity_of(tokenizer: Any) -> str | None:
    """A digest of everything that decides a tokenizer's tokens; None if lilift cannot compute it and must not cache anything.

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
    """The tokens, or None if the stored bytes have changed."""
    checksum, content = stored[:_CHECKSUM_BYTES], stored[_CHECKSUM_BYTES:]
    if zlib.crc32(key + content).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    return tuple(array("i", content))
