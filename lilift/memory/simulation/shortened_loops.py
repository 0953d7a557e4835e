"""Shortens the loops of the lean layers on fake tensors, so that planning a large batch takes as long as planning a small one.

The MLPs and norms of the LLM compute tile by tile. On fake tensors, each tile takes time and gives nothing new: from the third
tile on, every tile allocates and frees the same sizes as the one before it, except a smaller last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lilift.model.llms.lean_layers import rms_norm
from lilift.model.llms.lean_layers.gated_mlp import GatedMLP

# The first tile, the second, which sums gradients, and the third, which begins while the results of the second still exist.
DISTINCT = 3
Tile = TypeVar("Tile")


@contextmanager
def shortened_loops() -> Iterator[None]:
    """Let MLPs and norms compute only tiles that differ in their memory. Contents are wrong: use it on fake tensors only."""
    mlp: Any = GatedMLP
    norm: Any = rms_norm
    tiles, chunks = mlp.tiles, norm._chunks
    mlp.tiles, norm._chunks = _distinct_of(tiles), _distinct_of(chunks)
    try:
        yield
    finally:
        mlp.tiles, norm._chunks = tiles, chunks


def _distinct_of(cut: Callable[..., Any]) -> Callable[..., Any]:
    def shortened(*arguments: Any) -> Any:
        return iter(distinct(list(cut(*arguments))))

    return shortened


def distinct(tiles: Sequence[Tile]) -> Sequence[Tile]:
    """The first three tiles and the last one."""
    return tiles if len(tiles) <= DISTINCT else [*tiles[:DISTINCT], tiles[-1]]
