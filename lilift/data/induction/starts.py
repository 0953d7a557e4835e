"""Makes rough mappings between two vector spaces without training: from words spelled alike, or from their similarities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.neighbours import match
from lilift.data.induction.refinement import procrustes

FEWEST_ANCHORS = 20
"""With fewer words that are spelled alike, a mapping is not better than chance."""
_SIGNATURE = 300
_SIGNED_WORDS = 8_000


def anchors(english: Sequence[str], foreign: Sequence[str], *, numerals_only: bool) -> list[tuple[int, int]]:
    """Positions of words that are spelled alike in both vocabularies: names, loanwords and numerals, or only numerals."""
    position = {word: index for index, word in enumerate(foreign)}
    return [
        (index, position[word])
        for index, word in enumerate(english)
        if word in position and (word.isdigit() or not numerals_only)
    ]


def from_anchors(pairs: Sequence[tuple[int, int]], english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping that fits words spelled alike."""
    rows = torch.tensor(pairs, device=english.device)
    return procrustes(english[rows[:, 0]], foreign[rows[:, 1]])


def from_similarities(english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping that fits words with similar distributions of similarities to all words of their own language.

    A word and its translation have about the same number of near and far neighbours. The sorted similarities are a signature of
    a word that no rotation changes.
    """
    size = min(_SIGNATURE, len(english), len(foreign))
    pairs = match(_signatures(english, size), _signatures(foreign, size)).mutual
    return procrustes(english[pairs[:, 0]], foreign[pairs[:, 1]])


def _signatures(vectors: Tensor, size: int) -> Tensor:
    """The signatures of frequent words, [N, D] → [≤ N, S]: quantiles of their similarities to all words, standardised."""
    positions = torch.linspace(0, len(vectors) - 1, size, device=vectors.device).round().long()
    rows = max(1, (64 << 20) // (4 * len(vectors)))
    frequent = vectors[:_SIGNED_WORDS]
    parts = [(frequent[at : at + rows] @ vectors.T).sort(dim=1).values[:, positions] for at in range(0, len(frequent), rows)]
    signatures = torch.cat(parts)
    return F.normalize((signatures - signatures.mean(dim=0)) / signatures.std(dim=0).clamp_min(1e-6), dim=1)
