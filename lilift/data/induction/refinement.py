"""From a rough mapping between two vector spaces to the best one near it: Procrustes on the pairs that choose each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lilift.data.induction.neighbours import Matches, match

MOST_ROUNDS = 20
FIRST_WORDS = 5_000
"""Refinement begins with so many words, which costs next to nothing, and goes on with all."""
_GAIN = 1e-4
"""It ends where a round gains less."""


@dataclass(frozen=True)
class Refined:
    """A mapping after refinement.

    Attributes:
        mapping: [D, D] English vectors times it lie in the foreign space.
        matches: of the words that it was refined by.
        rounds: of Procrustes that led to it.
    """

    mapping: Tensor
    matches: Matches
    rounds: int

    @property
    def criterion(self) -> float:
        """See `Matches.criterion`."""
        return self.matches.criterion


def procrustes(source: Tensor, target: Tensor) -> Tensor:
    """The rotation W that brings source @ W nearest to target (Schönemann, 1966): [P, D], [P, D] → [D, D]."""
    return nearest_rotation(source.T @ target)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation nearest to a matrix: [D, D] → [D, D]."""
    left, _, right = torch.linalg.svd(matrix)
    rotation: Tensor = left @ right
    return rotation


def refine(english: Tensor, foreign: Tensor, mapping: Tensor) -> Refined:
    """Refine a mapping by the most frequent words first, then by all: [N, D], [M, D] of unit length, [D, D]."""
    if len(english) > FIRST_WORDS:
        mapping = _refine(english[:FIRST_WORDS], foreign[:FIRST_WORDS], mapping).mapping
    return _refine(english, foreign, mapping)


def _refine(english: Tensor, foreign: Tensor, mapping: Tensor) -> Refined:
    best = Refined(mapping, match(english @ mapping, foreign), 0)
    matches = best.matches
    for rounds in range(1, MOST_ROUNDS + 1):
        pairs = matches.mutual
        mapping = procrustes(english[pairs[:, 0]], foreign[pairs[:, 1]])
        matches = match(english @ mapping, foreign)
        gain = matches.criterion - best.criterion
        if gain > 0:
            best = Refined(mapping, matches, rounds)
        if gain < _GAIN:
            break
    return best
