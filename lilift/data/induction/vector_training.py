"""Trains fastText-style word vectors on the user's own text, with gensim."""

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
"""If words are longer than this on average, the text has no spaces between words."""
LONGEST_MEAN_SEGMENTED = 6
"""The same for languages without spaces, which need a segmenter: Chinese clauses have nine letters on average, words two."""


class Sentences:
    """The lower-case words of each line of a text file; every iteration reads the file again."""

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
        path: plain text with a sentence or paragraph in each line and spaces between words.
        known: the language of the text.
        dimension: dimension of the vectors.
        epochs: number of passes over the text.
        least_count: words that occur less often get no vector.
        seed: the seed of all random choices.
        workers: number of threads; with one, the same text always gives the same vectors.

    Raises:
        DataError: the text cannot be read, has no spaces between words, or has too few words.
        EnvironmentUnfit: gensim is not installed.
    """
    if find_spec("gensim") is None:
        raise EnvironmentUnfit(
            "gensim, which trains word vectors, is not installed", remedy="run `pip install 'lilift[induction]'`"
        )
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
    except RuntimeError as error:  # gensim's error for an empty vocabulary
        raise DataError(
            f"no word occurs at least {least_count} times ({error})",
            where=path,
            remedy="use more text, or set --least-count lower",
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
        raise DataError("the text has no words", where=sentences.path, remedy="use a plain text in the language")
    if letters > count * (LONGEST_MEAN if known.puts_spaces_between_words else LONGEST_MEAN_SEGMENTED):
        raise DataError(
            f"the text has no spaces between words (its words have {letters // count} letters on average)",
            where=sentences.path,
            remedy=f"put spaces between the words first, with a word segmenter for {known.name}",
        )
