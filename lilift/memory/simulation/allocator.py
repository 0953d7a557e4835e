"""Computes how much memory torch's CUDA allocator reserves for the allocations of a program.

This is a model of `c10/cuda/CUDACachingAllocator`. It rounds sizes up to 512 bytes. Small blocks come from segments of 2 MiB,
larger blocks from segments of 20 MiB or from a segment of their own. The allocator keeps a freed block, splits it, and merges
it with its neighbours. With expandable segments, each pool is one range of addresses that grows at its end.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field

ROUNDING = 512
SMALL = 2**20
SMALL_SEGMENT = 2 * 2**20
LARGE_SEGMENT = 20 * 2**20
OWN_SEGMENT = 10 * 2**20  # a block of this size or more gets its own segment
PAGE = 2 * 2**20


@dataclass(frozen=True)
class Reserved:
    """The peaks of a sequence of allocations.

    Attributes:
        allocated: most bytes in use, rounded as the allocator does.
        reserved: most bytes taken from the device.
    """

    allocated: int
    reserved: int


def replay(events: Iterable[tuple[int, int]], *, expandable: bool) -> Reserved:
    """Run allocations through the model.

    Args:
        events: (block, bytes) for an allocation and (block, -bytes) for a release; see `MemoryTrace.events`.
        expandable: with ``expandable_segments:True``.
    """
    pools = _Pool(small=True, expandable=expandable), _Pool(small=False, expandable=expandable)
    where: dict[int, tuple[_Pool, int, int]] = {}
    allocated = most = 0
    for block, size in events:
        if size > 0:
            rounded = -(-size // ROUNDING) * ROUNDING
            pool = pools[rounded > SMALL]
            where[block] = (pool, pool.take(rounded), rounded)
            allocated += rounded
            most = max(most, allocated)
        else:
            pool, start, rounded = where.pop(block)
            pool.give_back(start, rounded)
            allocated -= rounded
    return Reserved(most, sum(pool.reserved for pool in pools))


@dataclass
class _Pool:
    """Free blocks by size and by address. Segments are far apart, so that blocks of two segments never touch."""

    small: bool
    expandable: bool
    reserved: int = 0
    end: int = 0
    _by_size: list[tuple[int, int]] = field(default_factory=list)  # (size, start)
    _by_start: dict[int, int] = field(default_factory=dict)
    _by_end: dict[int, int] = field(default_factory=dict)  # end -> start
    _whole: dict[int, int] = field(default_factory=dict)  # start -> size of blocks that were not split

    def take(self, size: int) -> int:
        place = bisect.bisect_left(self._by_size, (size, -1))
        if place == len(self._by_size):
            self._grow(size)
            place = bisect.bisect_left(self._by_size, (size, -1))
        found, start = self._by_size[place]
        self._remove(start, found)
        rest = found - size
        if rest > (ROUNDING - 1 if self.small else SMALL) or (self.expandable and rest > 0):
            self._insert(start + size, rest)
        else:
            self._whole[start] = found
        return start

    def give_back(self, start: int, size: int) -> None:
        size = self._whole.pop(start, size)
        after = self._by_start.get(start + size)
        if after is not None:
            self._remove(start + size, after)
            size += after
        before = self._by_end.get(start)
        if before is not None:
            length = start - before
            self._remove(before, length)
            start, size = before, size + length
        self._insert(start, size)

    def _grow(self, size: int) -> None:
        if self.expandable:
            unit = PAGE if self.small else LARGE_SEGMENT
            tail = self._by_end.get(self.end)
            lacking = size - (self.end - tail if tail is not None else 0)
            more = -(-lacking // unit) * unit
            self.reserved += more
            start, self.end = self.end, self.end + more
            self.give_back(start, more)
            return
        more = SMALL_SEGMENT if self.small else LARGE_SEGMENT if size < OWN_SEGMENT else -(-size // PAGE) * PAGE
        self.reserved += more
        start = self.end + PAGE  # a gap, because blocks of two segments are never merged
        self.end = start + more
        self._insert(start, more)

    def _insert(self, start: int, size: int) -> None:
        bisect.insort(self._by_size, (size, start))
        self._by_start[start] = size
        self._by_end[start + size] = start

    def _remove(self, start: int, size: int) -> None:
        self._by_size.pop(bisect.bisect_left(self._by_size, (size, start)))
        del self._by_start[start]
        del self._by_end[start + size]
