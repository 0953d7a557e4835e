"""fastText's .bin models: word vectors without loading the model.

A model of 2 million words has 7 GB; here its matrix stays on the disk and only the rows that are needed are read. A word's
vector is the mean of its own row and the rows of its character n-grams, whose row is an FNV-1a hash (fastText's dictionary.cc
and fasttext.cc, version 12 of the format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lilift.recipe.errors import DataError

MAGIC = struct.pack("<i", 793712314)
"""The first bytes of a fastText model."""
_VERSION = 12
_HEAD = struct.Struct("<2i12id")
_SIZES = struct.Struct("<3i2q")
_ENTRY = struct.Struct("<qb")


class _Model(NamedTuple):
    words: list[tuple[bytes, int]]
    total: int
    buckets: int
    shortest: int
    longest: int
    matrix: NDArray[np.float32]


def is_fasttext_binary(path: Path) -> bool:
    """Whether a file begins like a fastText model."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def fasttext_binary_records(path: Path) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """Each word with its vector [D], the most frequent first.

    Raises:
        DataError: the model is quantised, pruned, of another version, or cut short.
    """
    try:
        with path.open("rb") as file:
            model = _read_model(file, path)
    except (struct.error, ValueError, EOFError):
        raise DataError("the fastText model is cut short or damaged", where=path, remedy="download it again") from None
    for word, index in model.words:
        rows = [index, *(model.total + hashed % model.buckets for hashed in _ngram_hashes(word, model))]
        yield word, model.matrix[rows].mean(axis=0)


def _read_model(file: BinaryIO, path: Path) -> _Model:
    _, version, dimension, _, _, _, _, _, _, _, buckets, shortest, longest, _, _ = _HEAD.unpack(file.read(_HEAD.size))
    if version != _VERSION:
        raise DataError(f"the fastText model has version {version} of the format, not {_VERSION}", where=path)
    size, total, _, _, pruned = _SIZES.unpack(file.read(_SIZES.size))
    words: list[tuple[bytes, int]] = []
    for index in range(size):
        word = _until_zero(file)
        _, kind = _ENTRY.unpack(file.read(_ENTRY.size))
        if kind == 0:
            words.append((word, index))
    quantised = file.read(1)
    if pruned > 0 or quantised != b"\0":
        raise DataError("is a quantised or pruned fastText model", where=path, remedy="give the full .bin, or its .vec")
    rows, columns = struct.unpack("<2q", file.read(16))
    start = file.tell()
    if columns != dimension or path.stat().st_size < start + 4 * rows * columns:
        raise EOFError
    matrix: NDArray[np.float32] = np.memmap(path, np.float32, "r", offset=start, shape=(rows, columns))
    return _Model(words, total, buckets, shortest, longest if buckets else 0, matrix)


def _until_zero(file: BinaryIO) -> bytes:
    letters = bytearray()
    while (byte := file.read(1)) != b"\0":
        if not byte:
            raise EOFError
        letters += byte
    return bytes(letters)


def _ngram_hashes(word: bytes, model: _Model) -> list[int]:
    """Hashes of the n-grams of ``<word>``, as fastText counts them."""
    letters = [letter.encode("utf-8") for letter in f"<{word.decode('utf-8', 'replace')}>"]
    hashes = []
    for start in range(len(letters)):
        value = 2166136261
        for length, letter in enumerate(letters[start : start + model.longest], start=1):
            for byte in letter:
                value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
            at_edge = length == 1 and (start == 0 or start == len(letters) - 1)
            if length >= model.shortest and not at_edge:
                hashes.append(value)
    return hashes
