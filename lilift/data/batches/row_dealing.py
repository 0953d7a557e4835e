"""Deals the rows of an optimizer step to processes, so that all finish at about the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
GOOD_ENOUGH = 1.05
"""Whole micro-batches stay together if the largest share is then at most so many times the mean."""


def deal_rows(micro_batches: Sequence[Sequence[Row]], processes: int, length: Callable[[Row], int]) -> list[list[list[Row]]]:
    """The micro-batches of each process.

    Whole micro-batches go to the process with the least work, the largest first: their rows have similar lengths. The rows of
    the rest are dealt one by one. A part of a micro-batch is never larger than the micro-batch, so it fits into memory too. A
    process may get nothing.

    Args:
        micro_batches: the rows of the step, by micro-batch.
        processes: their number.
        length: the length of a row in tokens.
    """
    if processes == 1:
        return [[list(rows) for rows in micro_batches]]
    sizes = [len(rows) * max(map(length, rows)) for rows in micro_batches]
    order = sorted(range(len(micro_batches)), key=lambda place: (-sizes[place], place))
    mean = sum(sizes) / processes
    best: list[list[list[Row]]] = []
    least = float("inf")
    for whole in range(len(order) // processes * processes, -1, -processes):
        dealt = _dealt([micro_batches[place] for place in order], whole, processes, length)
        largest = max(sum(_size(rows, length) for rows in share) for share in dealt)
        if largest < least:
            best, least = dealt, largest
        if largest <= GOOD_ENOUGH * mean:
            break
    return best


def _dealt(
    micro_batches: Sequence[Sequence[Row]], whole: int, processes: int, length: Callable[[Row], int]
) -> list[list[list[Row]]]:
    """Deal the first `whole` micro-batches as they are, and the rows of the others one by one."""
    dealt: list[list[list[Row]]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for rows in micro_batches[:whole]:
        share = loads.index(min(loads))
        dealt[share].append(list(rows))
        loads[share] += _size(rows, length)
    for rows in micro_batches[whole:]:
        parts: list[list[Row]] = [[] for _ in range(processes)]
        for row in sorted(rows, key=lambda row: -length(row)):  # stable, so every process deals in the same way
            share = loads.index(min(loads))
            parts[share].append(row)
            loads[share] += length(row)
        for share, part in enumerate(parts):
            if part:
                dealt[share].append(part)
    return dealt


def _size(rows: Sequence[Row], length: Callable[[Row], int]) -> int:
    return len(rows) * max(map(length, rows))
