"""Word vectors from files: fastText's .vec and .bin, word2vec's text and binary formats; recognised from the content.

Words come the most frequent first, as all these tools write them. Reading stops at a limit, so that a file of two million words
takes no more memory than is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilift.data.induction.fasttext_binary import is_fasttext_binary, read_fasttext_binary
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError

_LONGEST_WORD = 4096


@dataclass(frozen=True)
class Embeddings:
    """Word vectors of one language.

    Attributes:
        words: the most frequent first, each once.
        vectors: [N, D] float32.
        source: where they come from.
    """

    words: Sequence[str]
    vectors: Tensor
    source: str

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.vectors.shape[1])


def read_embeddings(path: Path, limit: int) -> Embeddings:
    """Read the `limit` most frequent words of a file.

    Raises:
        DataError: it cannot be read, is of no known format, is cut short, or has a vector of another length or of no number.
    """
    try:
        if is_fasttext_binary(path):
            words, vectors = read_fasttext_binary(path, limit)
        elif _is_word2vec_binary(path):
            words, vectors = _read_word2vec_binary(path, limit)
        else:
            words, vectors = _read_text(path, limit)
    except OSError as error:
        raise DataError(f"cannot read the vectors ({error.strerror or error})", where=path) from None
    if not words:
        raise DataError("the file has no vector", where=path, remedy="give fastText .vec or .bin, or word2vec vectors")
    if not np.isfinite(vectors).all():
        raise DataError("the file has vectors that are not numbers (NaN or infinite)", where=path, remedy="train them again")
    return Embeddings(words, torch.from_numpy(vectors), path.name)


def _read_text(path: Path, limit: int) -> tuple[list[str], NDArray[np.float32]]:
    """``count dimension`` on the first line (word2vec, fastText) or not (GloVe), then a word and its numbers a line."""
    lines = read_lines(path)
    _, first = next(lines, (1, ""))
    dimension = _dimension_of(first, path)
    rows: list[NDArray[np.float32]] = []
    words: dict[str, None] = {}
    read = 0
    if not _is_header(first):
        words[_add(first, 1, dimension, rows, path)] = None
    for number, line in lines:
        if len(words) == limit:
            break
        word = _add(line, number, dimension, rows, path)
        if word in words:
            rows.pop()
        words[word] = None
        read += 1
    promised = int(first.split()[0]) if _is_header(first) else 0
    if len(words) < limit and 0 < read < promised:
        raise DataError(f"is cut short: {read} of {promised} vectors", where=path, remedy="download it again")
    return list(words), np.stack(rows) if rows else np.empty((0, dimension), np.float32)


def _is_header(line: str) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _dimension_of(first: str, path: Path) -> int:
    dimension = int(first.split()[1]) if _is_header(first) else len(first.rstrip().split(" ")) - 1
    if dimension < 2:
        raise DataError(
            "is no file of word vectors: its first line is neither `count dimension` nor a word and numbers",
            where=f"{path}:1",
            remedy="give fastText .vec or .bin, or word2vec vectors",
        )
    return dimension


def _add(line: str, number: int, dimension: int, rows: list[NDArray[np.float32]], path: Path) -> str:
    word, *numbers = line.rstrip(" ").rsplit(" ", dimension)
    if len(numbers) != dimension or " " in word.strip(" "):
        found = len(line.split()) - 1
        raise DataError(
            f"a vector of {found} numbers instead of {dimension}", where=f"{path}:{number}", remedy="is it cut short?"
        )
    try:
        rows.append(np.array(numbers, dtype=np.float32))
    except ValueError:
        raise DataError("a vector holds something that is no number", where=f"{path}:{number}") from None
    return word


def _is_word2vec_binary(path: Path) -> bool:
    """A header like the text format's, and no line of text after it."""
    with path.open("rb") as file:
        header = file.readline(64)
        if not _is_header(header.decode("utf-8", "replace")):
            return False
        sample = file.read(_LONGEST_WORD)
    # Text has digits and spaces only beside its words; four-byte floats hold zero bytes and control characters.
    return any(byte < 9 for byte in sample)


def _read_word2vec_binary(path: Path, limit: int) -> tuple[list[str], NDArray[np.float32]]:
    with path.open("rb") as file:
        count, dimension = (int(part) for part in file.readline().split())
        kept = min(count, limit)
        vectors = np.empty((kept, dimension), np.float32)
        words: dict[str, None] = {}
        for index in range(kept):
            word = _word_before_space(file)
            content = file.read(4 * dimension)
            if word is None or len(content) < 4 * dimension:
                raise DataError(f"is cut short at word {index + 1} of {count}", where=path, remedy="download it again")
            vectors[len(words)] = np.frombuffer(content, np.float32)
            words[word] = None
    return list(words), vectors[: len(words)]


def _word_before_space(file: BinaryIO) -> str | None:
    letters = bytearray()
    while (byte := file.read(1)) not in (b" ", b""):
        letters += byte
        if len(letters) > _LONGEST_WORD:
            return None
    return letters.lstrip(b"\n").decode("utf-8", "replace") if byte else None
