"""Rough mappings between two vector spaces that need no training: from words spelled alike, or the shape of similarities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lilift.data.induction.neighbours import match
from lilift.data.induction.refinement import procrustes

FEWEST_ANCHORS = 20
"""A mapping from fewer words spelled alike is no better than chance."""
_SIGNATURE = 300
_SIGNED_WORDS = 8_000


def anchors(english: Sequence[str], foreign: Sequence[str], *, numerals_only: bool) -> list[tuple[int, int]]:
    """Positions of words that are spelled alike in both vocabularies: names, loans and numerals, or numerals alone."""
    position = {word: index for index, word in enumerate(foreign)}
    return [
        (index, position[word])
        for index, word in enumerate(english)
        if word in position and (word.isdigit() or not numerals_only)
    ]


def from_anchors(pairs: Sequence[tuple[int, int]], english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping that words spelled alike suggest."""
    rows = torch.tensor(pairs, device=english.device)
    return procrustes(english[rows[:, 0]], foreign[rows[:, 1]])


def from_similarities(english: Tensor, foreign: Tensor) -> Tensor:
    """The mapping between words whose similarities to all words of their own language are distributed alike.

    A word and its translation have as many near and far neighbours; sorted, these similarities are a signature that no rotation
    changes.
    """
    size = min(_SIGNATURE, len(english), len(foreign))
    pairs = match(_signatures(english, size), _signatures(foreign, size)).mutual
    return procrustes(english[pairs[:, 0]], foreign[pairs[:, 1]])


def _signatures(vectors: Tensor, size: int) -> Tensor:
    """[N, D] → [≤ N, S] quantiles of each frequent word's similarities to all, standardised over words and of unit length."""
    positions = torch.linspace(0, len(vectors) - 1, size, device=vectors.device).round().long()
    rows = max(1, (64 << 20) // (4 * len(vectors)))
    frequent = vectors[:_SIGNED_WORDS]
    parts = [(frequent[at : at + rows] @ vectors.T).sort(dim=1).values[:, positions] for at in range(0, len(frequent), rows)]
    signatures = torch.cat(parts)
    return F.normalize((signatures - signatures.mean(dim=0)) / signatures.std(dim=0).clamp_min(1e-6), dim=1)
