"""Finds nearest neighbours between two vector spaces, corrected for hubs (CSLS), in chunks that bound memory.

All vectors have length 1, so a product is a cosine. CSLS = 2 cos(x, y) - r(x) - r(y), where r is the mean cosine of a vector to
its ten nearest neighbours in the other space. A hub, which is near to everything, has a large r. Only the order of a word's
candidates matters, so lilift computes cos(x, y) - r(y) / 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 10
CHUNK_BYTES = 128 << 20
"""Size of one block of similarities; 200,000 words against 200,000 words need two such blocks at a time."""


@dataclass(frozen=True)
class Matches:
    """Each word's best partner in the other space by CSLS.

    Attributes:
        forward: [N] for each row of the first space, the best row of the second space.
        backward: [M] for each row of the second space, the best row of the first space.
        cosine: [N] the cosine of each row and its forward partner.
    """

    forward: Tensor
    backward: Tensor
    cosine: Tensor

    @property
    def mutual(self) -> Tensor:
        """The pairs [P, 2] of rows that are each other's best partner."""
        rows = torch.arange(len(self.forward), device=self.forward.device)
        chosen = self.backward[self.forward] == rows
        return torch.stack((rows[chosen], self.forward[chosen]), dim=1)

    @property
    def criterion(self) -> float:
        """MUSE's measure of an alignment without gold data: the mean cosine of words and their partners."""
        return float(self.cosine.mean())


def agreement(first: Matches, second: Matches) -> float:
    """Share of words that have the same partner in both; two wrong alignments agree on almost no word."""
    return float((first.forward == second.forward).float().mean())


def hubness(queries: Tensor, keys: Tensor) -> Tensor:
    """Mean cosine of each query and its nearest keys: [N, D], [M, D] → [N]."""
    nearest = min(NEIGHBOURS, len(keys))
    return torch.cat([(queries[rows] @ keys.T).topk(nearest, dim=1).values.mean(dim=1) for rows in _chunks(queries, keys)])


def match(first: Tensor, second: Tensor) -> Matches:
    """The best partners in both directions of [N, D] and [M, D], both of unit length and in the same space."""
    first_hubness, second_hubness = hubness(first, second), hubness(second, first)
    forward, cosines = [], []
    best = torch.full((len(second),), -torch.inf, device=second.device)
    backward = torch.zeros(len(second), dtype=torch.long, device=second.device)
    for rows in _chunks(first, second):
        cosine = first[rows] @ second.T  # [C, M]
        partner = (cosine - second_hubness / 2).argmax(dim=1)
        forward.append(partner)
        cosines.append(cosine.gather(1, partner[:, None])[:, 0])
        value, index = (cosine - first_hubness[rows, None] / 2).max(dim=0)
        better = value > best
        best = torch.where(better, value, best)
        backward = torch.where(better, index + rows.start, backward)
    return Matches(torch.cat(forward), backward, torch.cat(cosines))


def nearest(queries: Tensor, keys: Tensor, count: int, key_hubness: Tensor) -> Tensor:
    """The `count` best keys of each query by CSLS, best first: [N, D], [M, D] → [N, count]."""
    found = [((queries[rows] @ keys.T).sub_(key_hubness / 2)).topk(count, dim=1).indices for rows in _chunks(queries, keys)]
    return torch.cat(found)


def _chunks(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // (4 * len(keys)))
    return (slice(start, min(start + rows, len(queries))) for start in range(0, len(queries), rows))
