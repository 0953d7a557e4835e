"""Refines a rough mapping between two vector spaces: Procrustes on the pairs of words that are each other's best partner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lilift.data.induction.neighbours import Matches, match

MOST_ROUNDS = 20
FIRST_WORDS = 5_000
"""Refinement begins with this many words, which takes almost no time, and continues with all words."""
_GAIN = 1e-4
"""Refinement ends when a round improves the criterion by less than this."""


@dataclass(frozen=True)
class Refined:
    """A mapping after refinement.

    Attributes:
        mapping: [D, D]; it maps English vectors into the foreign space by multiplication.
        matches: the matches of the words that were used for refinement.
        rounds: number of Procrustes rounds that led to it.
    """

    mapping: Tensor
    matches: Matches
    rounds: int

    @property
    def criterion(self) -> float:
        """See `Matches.criterion`."""
        return self.matches.criterion


def procrustes(source: Tensor, target: Tensor) -> Tensor:
    """The rotation W for which source @ W is nearest to target (Schönemann, 1966): [P, D], [P, D] → [D, D]."""
    return nearest_rotation(source.T @ target)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation nearest to a matrix: [D, D] → [D, D]."""
    left, _, right = torch.linalg.svd(matrix)
    rotation: Tensor = left @ right
    return rotation


def refine(english: Tensor, foreign: Tensor, mapping: Tensor) -> Refined:
    """Refine a mapping with the most frequent words first, then with all words: [N, D], [M, D] of unit length, [D, D]."""
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
