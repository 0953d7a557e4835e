"""Shortens the loops of the lean layers on fake tensors, so that planning a large batch takes as long as planning a small one.

The MLPs and norms of the LLM compute tile by tile. On fake tensors, each tile takes time and gives nothing new: after the first
few, every tile allocates and frees the same sizes as the one before it, except a smaller last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lilift.model.llms.lean_layers import rms_norm
from lilift.model.llms.lean_layers.gated_mlp import GatedMLP

# Of an MLP: the first tile, the second, which sums gradients, and the third, which begins while the results of the second still
# exist. Of a norm, which sums nothing: the first and the second.
DISTINCT_IN_MLP, DISTINCT_IN_NORM = 3, 2


@contextmanager
def shortened_loops() -> Iterator[None]:
    """Let MLPs and norms compute only tiles that differ in their memory. Contents are wrong: use it on fake tensors only."""
    mlp: Any = GatedMLP
    norm: Any = rms_norm
    tiles, chunks = mlp.tiles, norm._chunks
    mlp.tiles = lambda own, tokens: iter(distinct(list(tiles(own, tokens)), tokens, DISTINCT_IN_MLP))
    norm._chunks = lambda rows: distinct(chunks(rows), rows.shape[0], DISTINCT_IN_NORM)
    try:
        yield
    finally:
        mlp.tiles, norm._chunks = tiles, chunks


def distinct(tiles: Sequence[slice], rows: int, first: int) -> Sequence[slice]:
    """The first tiles, and the last one if it is smaller.

    Args:
        tiles: in their order; together they cover the rows.
        rows: number of rows.
        first: how many tiles at the beginning differ from each other.
    """
    if len(tiles) <= first:
        return tiles
    sizes = [len(range(*tile.indices(rows))) for tile in (tiles[0], tiles[-1])]
    return [*tiles[:first], *tiles[-1:]] if sizes[0] != sizes[1] else tiles[:first]
