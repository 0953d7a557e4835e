"""Planted lexicons: a vector space, and the same turned, with noise and in another order: every translation is known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.embeddings import Embeddings


def letters(index: int) -> str:
    """The index as a word without digits, for which a lexicon has a place."""
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
    """[N, D] the same, rotated, with Gaussian noise of which the length is a share of each vector's."""
    size = vectors.shape[1]
    rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=random))
    disturbance = F.normalize(torch.randn(vectors.shape, generator=random), dim=1)
    return vectors @ rotation + noise * vectors.norm(dim=1, keepdim=True) * disturbance


def planted_vectors(words: int, dimension: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Clustered vectors and the same turned, row by row each other's translation."""
    random = torch.Generator().manual_seed(seed)
    english = clustered_vectors(words, dimension, random)
    return english, turned(english, noise, random)


def shuffled(english: Tensor, foreign: Tensor, seed: int) -> tuple[Embeddings, Embeddings, dict[str, set[str]]]:
    """Two vocabularies without a word spelled alike, the second in another order, and which words belong together."""
    order = torch.randperm(len(foreign), generator=torch.Generator().manual_seed(seed))
    words = [f"e{letters(index)}" for index in range(len(english))]
    translations = [f"f{letters(index)}" for index in range(len(foreign))]
    gold = {word: {translation} for word, translation in zip(words, translations, strict=True)}
    shown = [translations[index] for index in order.tolist()]
    return Embeddings(words, english, "english"), Embeddings(shown, foreign[order], "foreign"), gold
