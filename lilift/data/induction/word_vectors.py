"""Word vectors from files: fastText's .vec and .bin, word2vec's text and binary formats; recognised from the content.

Words come the most frequent first, as all these tools write them. Reading stops at a limit, so that a file of two million words
takes no more memory than is asked for.

Published files have words with a blank in them (GloVe 840B: ``. . .``), words cut within a letter, empty words, repeated words,
and headers that promise another number of vectors. A word with a blank is kept whole. What cannot be used is left out and
counted, in the same way for every format. A file is refused only if most of it cannot be used.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilift.data.composed_text import composed
from lilift.data.induction.fasttext_binary import MAGIC, fasttext_binary_records, is_fasttext_binary
from lilift.data.induction.word2vec_binary import word2vec_binary_records
from lilift.data.text_files import open_text, read_raw_lines
from lilift.recipe.errors import DataError

_END_OF_SENTENCE = "</s>"
_FRACTION = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_SAMPLE = 50
_FIRST_BYTES = 4096

Record = tuple[bytes, NDArray[np.float32] | None] | None
"""A word with its vector [D], or without one where it is damaged; None for bytes that are neither."""


@dataclass(frozen=True)
class Embeddings:
    """Word vectors of one language.

    Attributes:
        words: the most frequent first, each once.
        vectors: [N, D] float32.
        source: where they come from.
        left_out: reason → vectors of the file that are not among them.
        remarks: what else was odd about the file, a clause each.
    """

    words: Sequence[str]
    vectors: Tensor
    source: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.vectors.shape[1])

    def warnings(self) -> list[str]:
        """What was left out, and what was odd, a line each."""
        lost = ", ".join(f"{reason} {count:,}" for reason, count in self.left_out.items())
        return [f"{self.source}: {text}" for text in ([f"vectors left out: {lost}"] if lost else []) + list(self.remarks)]


def read_embeddings(path: Path, limit: int) -> Embeddings:
    """Read the `limit` most frequent words of a file.

    Raises:
        DataError: it cannot be read, is of no known format, or most of its vectors cannot be used.
    """
    try:
        if is_fasttext_binary(path):
            return _collect(path, fasttext_binary_records(path), limit, promised=None)
        with open_text(path, recode=False) as stream:
            if stream.read(len(MAGIC)) == MAGIC:
                raise DataError("is a compressed fastText model", where=path, remedy="unpack it, for example with gunzip")
        header = _header_of(path)
        if header is not None and _is_word2vec_binary(path):
            return _collect(path, word2vec_binary_records(path, header[1]), limit, promised=header[0])
        return _collect(path, _text_records(path, header), limit, promised=header[0] if header else None)
    except (EOFError, zlib.error):
        raise DataError("the gzip file is cut short or damaged", where=path, remedy="download it again") from None
    except OSError as error:
        raise DataError(f"cannot read the vectors ({error.strerror or error})", where=path) from None


def _collect(path: Path, records: Iterator[Record], limit: int, *, promised: int | None) -> Embeddings:
    """The first usable vectors, and what became of the others."""
    rows: list[NDArray[np.float32]] = []
    words: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    read = blanks = shifted = 0
    whole = True
    for record in records:
        if len(words) == limit:
            whole = False
            break
        read += 1
        word, vector, reason = _usable(record)
        if reason is None and word in words:
            reason = "word that comes twice"
        if reason is not None or vector is None:
            left_out[reason or "damaged vector"] += 1
            continue
        words[word] = None
        rows.append(vector)
        blanks += any(letter.isspace() for letter in word)
        shifted += _ends_in_number(word)
    if not words and not left_out:
        raise DataError("the file has no vector", where=path, remedy="give fastText .vec or .bin, or word2vec vectors")
    damaged = sum(
        count for reason, count in left_out.items() if reason != "word that comes twice" and reason != "end of sentence"
    )
    if 2 * damaged > read or not words:
        found = ", ".join(f"{reason} {count:,}" for reason, count in left_out.most_common())
        raise DataError(
            f"most of the file cannot be used ({found} of {read:,})",
            where=path,
            remedy="download it again, or save it as UTF-8",
        )
    if 2 * shifted > read and read > 2:
        raise DataError(
            f"most vectors have more numbers than the {len(rows[0])} that the file promises",
            where=path,
            remedy="download it again",
        )
    remarks = []
    if blanks:
        what = "1 word with a blank in it" if blanks == 1 else f"{blanks:,} words with a blank in them"
        remarks.append(f"{what}, kept whole")
    if whole and promised is not None and promised != read:
        what = "is it cut short? download it again" if read < promised else "its first line is wrong"
        remarks.append(f"{read:,} vectors instead of the {promised:,} that it promises; {what}")
    return Embeddings(list(words), torch.from_numpy(np.stack(rows)), path.name, dict(left_out.most_common()), tuple(remarks))


def _ends_in_number(word: str) -> bool:
    """Whether what follows a word's first blank looks like the first numbers of its vector."""
    return any(_FRACTION.fullmatch(part) for part in word.split(" ")[-1:] if part != word)


def _usable(record: Record) -> tuple[str, NDArray[np.float32] | None, str | None]:
    """The word, its vector, and why they cannot be used, or None if they can."""
    if record is None:
        return "", None, "damaged bytes"
    try:
        word = composed(record[0].decode("utf-8").strip())
    except UnicodeDecodeError:
        return "", None, "word that is not UTF-8"
    vector = record[1]
    if not word:
        return word, vector, "empty word"
    if word == _END_OF_SENTENCE:
        return word, vector, "end of sentence"
    if vector is None:
        return word, vector, "damaged vector"
    return word, vector, None if np.isfinite(vector).all() else "not a number (NaN or infinite)"


def _text_records(path: Path, header: tuple[int, int] | None) -> Iterator[Record]:
    """``count dimension`` on the first line (word2vec, fastText) or not (GloVe), then a word and its numbers a line."""
    lines: Iterator[bytes] = (line for _, line in read_raw_lines(path))
    if header is not None:
        next(lines)
        dimension = header[1]
    else:
        sample = list(islice(lines, _SAMPLE))
        counts = Counter(len(line.split()) - 1 for line in sample if line.strip())
        dimension = counts.most_common(1)[0][0] if counts else 0
        if dimension < 2 or not any(_numbers(line.split()[1:]) is not None for line in sample if line.strip()):
            raise _no_vectors(path)
        lines = chain(sample, lines)
    for line in lines:
        if not line.strip():
            continue
        # Bytes split at ASCII blanks alone: a no-break or ideographic blank stays within its word.
        parts = line.rsplit(None, dimension)
        if len(parts) == dimension:
            parts.insert(0, b"")
        if len(parts) <= dimension or (not parts[0] and not line[:1].isspace()):
            word = line.split()[0]
            yield word, None
        else:
            yield parts[0], _numbers(parts[1:])


def _numbers(parts: Sequence[bytes]) -> NDArray[np.float32] | None:
    try:
        return np.array(parts, dtype=np.float32)
    except ValueError:
        return None


def _no_vectors(path: Path) -> DataError:
    return DataError(
        "is no file of word vectors: its first line is neither `count dimension` nor a word and numbers",
        where=f"{path}:1",
        remedy="give fastText .vec or .bin, or word2vec vectors",
    )


def _header_of(path: Path) -> tuple[int, int] | None:
    """Count and dimension that a file's first line gives, or None if it gives none."""
    first = next((line for _, line in read_raw_lines(path)), b"")
    parts = first.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    if int(parts[1]) < 2:
        raise _no_vectors(path)
    return int(parts[0]), int(parts[1])


def _is_word2vec_binary(path: Path) -> bool:
    """Whether no line of text comes after the header."""
    with open_text(path, recode=False) as file:
        file.readline()
        sample = file.read(_FIRST_BYTES)
    # Text has digits and spaces only beside its words; four-byte floats hold zero bytes and control characters.
    return any(byte < 9 for byte in sample)
