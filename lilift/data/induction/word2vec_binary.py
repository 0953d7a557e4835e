"""word2vec's binary format: words and float32 vectors one after the other, some of them damaged.

    30 8\n                      how many vectors, and of how many numbers
    word<SPACE>32 bytes[\n]     the line break is there in Google's program, and not in gensim's

A blank ends a word. A reader that believes the first blank reads all that follows ``new york`` from the wrong bytes. Here a
blank counts as the end only if numbers of a sensible size follow, and then a word or the end of the file.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lilift.data.text_files import open_text

_LONGEST_WORD = 1024
_LARGEST, _SMALLEST = 1e6, 1e-15
"""Sizes of numbers that vectors are made of; bytes of words or shifted numbers nearly always give others."""
_BLOCK = 1 << 20


def word2vec_binary_records(path: Path, dimension: int) -> Iterator[tuple[bytes, NDArray[np.float32]] | None]:
    """Each word with its vector [D]; None for a stretch of bytes that is neither.

    A last vector that is cut short is not given.
    """
    with open_text(path, recode=False) as stream:
        stream.readline()
        yield from _Records(stream, 4 * dimension).all()


class _Records:
    """A window on the file, long enough for a record and the next word."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._size = stream, size
        self._bytes = b""
        self._at = 0
        self._window = 2 * (size + _LONGEST_WORD)

    def all(self) -> Iterator[tuple[bytes, NDArray[np.float32]] | None]:
        while self._fill():
            start = self._at
            blank = self._end_of_word(start)
            if blank is not None:
                self._at = blank + 1 + self._size
                yield self._bytes[start:blank].lstrip(b"\n"), self._vector(blank + 1)
                continue
            found = self._next_record(start + 1)
            if found is None:
                if len(self._bytes) - start > self._size + 2:  # more than what a cut file ends with
                    yield None
                return
            yield None
            self._at = found

    def _fill(self) -> bool:
        """Read on where less than the window is left; whether anything is left."""
        if len(self._bytes) - self._at < self._window:
            self._bytes, self._at = self._bytes[self._at :], 0
            while len(self._bytes) < self._window and (block := self._stream.read(max(_BLOCK, self._window))):
                self._bytes += block
        return len(self._bytes[self._at : self._at + 2].strip(b"\n")) > 0

    def _vector(self, start: int) -> NDArray[np.float32]:
        return np.frombuffer(self._bytes, "<f4", self._size // 4, start)

    def _end_of_word(self, start: int) -> int | None:
        """Where the blank between a word and its numbers is; None if there is no such record here."""
        believable: list[int] = []
        blank = self._bytes.find(b" ", start, start + _LONGEST_WORD)
        while blank >= 0 and blank + 1 + self._size <= len(self._bytes) and _may_be_word(self._bytes[start:blank]):
            if self._word_may_follow(blank + 1 + self._size):
                if self._sensible(blank + 1):
                    return blank
                believable.append(blank)
            blank = self._bytes.find(b" ", blank + 1, start + _LONGEST_WORD)
        return believable[0] if believable else None

    def _sensible(self, start: int) -> bool:
        sizes = np.abs(self._vector(start))
        return bool(((sizes < _LARGEST) & ((sizes > _SMALLEST) | (sizes == 0))).all())

    def _word_may_follow(self, start: int) -> bool:
        """Whether a record may end here: the file ends, or a word begins."""
        if start == len(self._bytes):
            return True
        blank = self._bytes.find(b" ", start, start + _LONGEST_WORD)
        word = self._bytes[start : blank if blank >= 0 else start + _LONGEST_WORD]
        return _may_be_word(word) and (blank >= 0 or len(self._bytes) - start <= _LONGEST_WORD)

    def _next_record(self, start: int) -> int | None:
        """Where the next whole record begins, within the window."""
        for place in range(start, min(start + self._size + _LONGEST_WORD, len(self._bytes))):
            blank = self._end_of_word(place)
            if blank is not None and self._sensible(blank + 1) and self._bytes[place - 1 : place] == b"\n":
                return place
        return None


def _may_be_word(letters: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters, perhaps cut within the last letter."""
    text = letters.lstrip(b"\n")
    if any(byte < 32 or byte == 127 for byte in text):
        return False
    try:
        codecs.utf_8_decode(text, "strict", False)
    except UnicodeDecodeError:
        return False
    return True
