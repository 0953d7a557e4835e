"""fastText-style vectors from a text of one's own, trained by gensim."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import regex
import torch

from lilift.data.induction.word_vectors import Embeddings
from lilift.data.languages import Language
from lilift.data.text_files import read_lines
from lilift.recipe.errors import DataError, EnvironmentUnfit

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d'’]+")
LONGEST_MEAN = 15
"""Words longer than this on average mean a text without spaces between them."""
LONGEST_MEAN_SEGMENTED = 6
"""The same where a language puts none and a segmenter has to: Chinese clauses have nine letters on average, words two."""


class Sentences:
    """Lower-case words of a text file's lines, read anew each time they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[list[str]]:
        for _, line in read_lines(self.path):
            words = _WORD.findall(line.lower())
            if words:
                yield words


def train_embeddings(
    path: Path,
    known: Language,
    *,
    dimension: int = 100,
    epochs: int = 10,
    least_count: int = 5,
    seed: int = 0,
    workers: int = 1,
) -> Embeddings:
    """Train skip-gram vectors with character n-grams of 3 to 6 letters.

    Args:
        path: plain text, a sentence or paragraph a line, words with spaces between them.
        known: the language of the text.
        dimension: of the vectors.
        epochs: passes over the text.
        least_count: rarer words get no vector.
        seed: of everything drawn.
        workers: threads; with one, the same text gives the same vectors.

    Raises:
        DataError: the text cannot be read, has no spaces between words, or too few words.
        EnvironmentUnfit: gensim is not installed.
    """
    if find_spec("gensim") is None:
        raise EnvironmentUnfit("training word vectors needs gensim", remedy="pip install 'lilift[induction]'")
    from gensim.models import FastText

    sentences = Sentences(path)
    _require_words(sentences, known)
    model = FastText(
        vector_size=dimension,
        window=5,
        min_count=least_count,
        sg=1,
        min_n=3,
        max_n=6,
        bucket=200_000,
        seed=seed,
        workers=workers,
    )
    try:
        model.build_vocab(corpus_iterable=sentences)
        model.train(corpus_iterable=sentences, total_examples=model.corpus_count, epochs=epochs)
    except RuntimeError as error:  # gensim's words for an empty vocabulary
        raise DataError(
            f"no word occurs {least_count} times ({error})", where=path, remedy="give more text, or a lower --least-count"
        ) from None
    vectors = torch.from_numpy(np.array(model.wv.vectors, dtype=np.float32))
    return Embeddings(list(model.wv.index_to_key), vectors, f"vectors trained on {path.name}")


def _require_words(sentences: Sentences, known: Language) -> None:
    count = letters = 0
    for words in sentences:
        count += len(words)
        letters += sum(map(len, words))
        if count > 20_000:
            break
    if not count:
        raise DataError("the text has no word", where=sentences.path)
    if letters > count * (LONGEST_MEAN if known.puts_spaces_between_words else LONGEST_MEAN_SEGMENTED):
        raise DataError(
            f"words of {letters // count} letters on average: the text has no spaces between its words",
            where=sentences.path,
            remedy=f"put spaces between words with a segmenter of {known.name} first",
        )
