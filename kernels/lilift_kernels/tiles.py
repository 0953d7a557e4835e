"""How the Triton kernels cut their work: a static table by card and element size, and sizes that follow from the shape.

All entries compile without spilling registers and within the card's shared memory. ``docs/kernel_resources.md`` holds the table
of registers and shared memory, and tests compile the entries again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

MEBIBYTE = 2**20
WORKSPACE_BYTES = 44 * MEBIBYTE  # of the loss, for any V
LARGEST_CHUNK = 1280  # rows of a chunk of the loss
LARGEST_TILE = 16_384  # columns of the vocabulary between two updates of the gradient
CHUNK_WITHOUT_GRADIENT = 2048
MOST_BLOCKS = 512  # of the vocabulary, in a tile without gradient: ``merge`` holds them in its registers

_other_card: tuple[tuple[int, int], int] | None = None  # see `cut_for`


@dataclass(frozen=True)
class Blocks:
    """One kernel's configuration: the output block of a program, the depth of a step, and the numbers of warps and stages."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


@dataclass(frozen=True)
class LossPlan:
    """The cut of a loss over N rows: chunks of rows, tiles of the vocabulary, and the blocks of the two products."""

    chunk_rows: int
    tile_columns: int
    logits: Blocks
    gradient: Blocks

    def capacity(self, rows: int) -> int:
        """Rows that the buffers hold for a loss over ``rows`` rows: whole blocks of both products."""
        return _round_up(min(self.chunk_rows, rows), math.lcm(self.logits.rows, self.gradient.rows))


@dataclass(frozen=True)
class CardBlocks:
    """A card's configurations: for the loss's logits, for its gradient, and for the plain products of the projection.

    ``capped`` is for logits under a softcap, if ``logits`` would spill: the slope of the softcap takes registers too.
    """

    logits: Blocks
    gradient: Blocks
    product: Blocks
    capped: Blocks | None = None


# By smallest compute capability and bytes of an element. Ampere, Ada and consumer Blackwell hold 64 fp32 sums per thread beside
# their operands. Hopper's matrix units read operands from shared memory, which leaves room for 128 sums.
_LARGE = {
    ((8, 0), 2): CardBlocks(Blocks(128, 128, 64, 8, 3), Blocks(128, 128, 64, 8, 3), Blocks(128, 128, 64, 8, 3)),
    ((9, 0), 2): CardBlocks(
        Blocks(128, 256, 64, 8, 3), Blocks(128, 256, 64, 8, 3), Blocks(128, 128, 64, 8, 4), capped=Blocks(128, 128, 64, 8, 3)
    ),
    ((10, 0), 2): CardBlocks(Blocks(128, 128, 64, 8, 3), Blocks(128, 128, 64, 8, 3), Blocks(128, 128, 64, 8, 3)),
    ((8, 0), 4): CardBlocks(Blocks(64, 64, 32, 4, 2), Blocks(64, 64, 32, 4, 2), Blocks(64, 64, 32, 4, 2)),
}
# For fewer rows than fill the large blocks.
_SMALL = {
    2: CardBlocks(Blocks(64, 128, 64, 4, 3), Blocks(64, 128, 64, 4, 3), Blocks(64, 64, 64, 4, 3)),
    4: CardBlocks(
        Blocks(32, 64, 32, 4, 2), Blocks(32, 64, 32, 4, 2), Blocks(32, 64, 32, 4, 2), capped=Blocks(32, 32, 32, 4, 2)
    ),
}
# For matrices whose rows do not start at multiples of 16 elements: kernels load them element by element, and addresses take
# registers.
_RAGGED = {
    2: CardBlocks(Blocks(64, 64, 32, 4, 2), Blocks(64, 64, 32, 4, 2), Blocks(64, 64, 32, 4, 2)),
    4: CardBlocks(
        Blocks(32, 64, 32, 8, 2), Blocks(32, 64, 32, 8, 2), Blocks(32, 64, 32, 8, 2), capped=Blocks(32, 32, 32, 4, 2)
    ),
}
FEW_ROWS = 128
# The blocks that autotuning times beside the table's choice, by bytes of an element.
CANDIDATES = {
    2: (
        Blocks(128, 128, 64, 8, 3),
        Blocks(128, 128, 64, 8, 4),
        Blocks(128, 128, 64, 4, 3),
        Blocks(128, 128, 32, 8, 4),
        Blocks(128, 256, 64, 8, 3),
        Blocks(64, 128, 64, 4, 3),
        Blocks(64, 128, 64, 4, 4),
        Blocks(128, 64, 64, 4, 4),
        Blocks(64, 256, 64, 8, 3),
    ),
    4: (Blocks(64, 64, 32, 4, 2), Blocks(64, 64, 32, 4, 3), Blocks(32, 64, 32, 4, 2), Blocks(64, 128, 32, 8, 2)),
}


def loss_plan(
    capability: tuple[int, int],
    processors: int,
    rows: int,
    vocabulary: int,
    width: int,
    element_bytes: int,
    *,
    with_gradient: bool,
    capped: bool = False,
    logits: Blocks | None = None,
    gradient: Blocks | None = None,
) -> LossPlan:
    """The cut of a loss over ``rows`` rows, a head [vocabulary, width] and ``processors`` multiprocessors.

    A chunk has so many rows that the gradient's blocks fill the card in whole waves. A tile has as many columns as then fit
    into the workspace. ``rows`` only decides whether the blocks are small: the number of rows changes from step to step, and
    Triton compiles every new cut.
    """
    blocks = _blocks(capability, rows, element_bytes, (width,))
    logits = logits or (capped and blocks.capped) or blocks.logits
    gradient = gradient or blocks.gradient
    if not with_gradient:
        tile = _even_tile(MOST_BLOCKS * logits.columns, vocabulary, logits.columns)
        return LossPlan(CHUNK_WITHOUT_GRADIENT, tile, logits, gradient)
    chunk = _chunk_rows(width, gradient, math.lcm(logits.rows, gradient.rows), processors)
    room = (WORKSPACE_BYTES - 4 * chunk * width) // (element_bytes * chunk)
    step = math.lcm(logits.columns, gradient.depth)
    return LossPlan(chunk, _even_tile(min(room, LARGEST_TILE), vocabulary, step), logits, gradient)


def card(device: torch.device | str) -> tuple[tuple[int, int], int]:
    """Compute capability and multiprocessors of ``device``; those of an RTX 3090 if this machine has no GPU."""
    if _other_card is not None:
        return _other_card
    if not torch.cuda.is_available():
        return (8, 6), 82
    properties = torch.cuda.get_device_properties(device)
    return (properties.major, properties.minor), properties.multi_processor_count


@contextmanager
def cut_for(capability: tuple[int, int], processors: int) -> Iterator[None]:
    """Inside, work is cut for this card, whatever card the machine has."""
    global _other_card
    before, _other_card = _other_card, (capability, processors)
    try:
        yield
    finally:
        _other_card = before


def product_blocks(capability: tuple[int, int], rows: int, element_bytes: int, strides: tuple[int, ...] = ()) -> Blocks:
    """The blocks of a plain matrix product with ``rows`` rows, of matrices whose rows lie ``strides`` elements apart."""
    return _blocks(capability, rows, element_bytes, strides).product


def workspace_bytes(plan: LossPlan, rows: int, width: int, element_bytes: int, *, with_gradient: bool) -> int:
    """Bytes that a loss over ``rows`` rows, cut by ``plan``, allocates beyond its arguments and results."""
    per_row = 4 * (2 * plan.tile_columns // plan.logits.columns + 6)
    if with_gradient:
        per_row += 4 * width + element_bytes * plan.tile_columns
    return plan.capacity(rows) * per_row


def _blocks(capability: tuple[int, int], rows: int, element_bytes: int, strides: tuple[int, ...]) -> CardBlocks:
    if any(stride % 16 for stride in strides):
        return _RAGGED[element_bytes]
    if rows <= FEW_ROWS:
        return _SMALL[element_bytes]
    known = max(least for least, size in _LARGE if size == element_bytes and least <= max(capability, (8, 0)))
    return _LARGE[known, element_bytes]


def _chunk_rows(width: int, gradient: Blocks, step: int, processors: int) -> int:
    """Rows of a chunk, in whole blocks, so that their sums take two thirds of the workspace and fill the card in waves."""
    most = min(LARGEST_CHUNK, WORKSPACE_BYTES * 2 // 3 // (4 * width))
    candidates = [chunk for chunk in range(step, most + 1, step) if 2 * chunk > most]

    def occupancy(chunk: int) -> tuple[float, int]:
        programs = chunk // gradient.rows * _cells(width, gradient.columns)
        return round(programs / (_cells(programs, processors) * processors), 2), chunk

    return max(candidates, key=occupancy, default=step)


def _even_tile(most: int, vocabulary: int, step: int) -> int:
    """Columns of a tile, a multiple of ``step``: as few tiles as ``most`` columns allow, all of one size."""
    tiles = _cells(vocabulary, max(most - most % step, step))
    return _round_up(_cells(vocabulary, tiles), step)


def _cells(size: int, block: int) -> int:
    return -(-size // block)


def _round_up(size: int, block: int) -> int:
    return max(_cells(size, block), 1) * block
