"""Decides when the C library returns freed blocks to the system, so that a run on a CPU is fast where there is room for it.

glibc serves blocks of up to 32 MiB from a heap that shrinks only at its end. One small block that lives on keeps everything
below it. With a lower threshold, each large block is a mapping of its own, and freeing it returns it. Models are loaded this
way: what they keep leaves no holes in the heap. But a training step takes and frees the same blocks again and again, and every
new mapping costs page faults. So steps use the heap: they are faster and take more memory (docs/memory.md). This module
imports no heavy package.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Names of mallopt's parameters in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Blocks of this size and more are returned while models load. Below it, mappings would cost more than they save.
LARGE_BLOCK = 1024**2
# Bytes at the end of the heap that glibc keeps for the next small blocks.
KEPT_AT_END = 16 * 1024**2
# glibc accepts no higher threshold.
HIGHEST_THRESHOLD = 32 * 1024**2
# The end of the heap that a training step leaves to the next one.
KEPT_BETWEEN_STEPS = 128 * 1024**2
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


def return_large_blocks() -> bool:
    """Let this process return each large block as soon as it is freed. Call it before the first large allocation.

    Returns:
        Whether the C library accepted the thresholds. It stays as it is on another C library than glibc, and if the environment
        chooses thresholds or another allocator (``LD_PRELOAD``).
    """
    return _set_thresholds(LARGE_BLOCK, KEPT_AT_END)


@contextmanager
def freed_blocks_kept(kept_at_end: int = KEPT_AT_END) -> Iterator[None]:
    """While the block runs, the heap keeps freed blocks for the next step or batch. Afterwards they go back, and large blocks
    are returned again.

    Args:
        kept_at_end: bytes that stay at the end of the heap, where glibc could return them.
    """
    _open_holes()
    return_small_blocks()  # what loading the models left
    kept = _set_thresholds(HIGHEST_THRESHOLD, kept_at_end)
    try:
        yield
    finally:
        if kept:
            return_large_blocks()
            return_small_blocks()
            _close_holes()


def return_small_blocks() -> None:
    """Return the free pages between small blocks too, which costs milliseconds. Call it after a model was released."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


# Addresses of blocks that only occupy holes of the heap.
_closed: list[int] = []


def _close_holes() -> None:
    """Occupy the heap's large holes. glibc would place large blocks there, in spite of the thresholds, and keep them when they
    are freed. The pages of a hole are returned already, and an occupied hole stays without them.
    """
    libc = _libc()
    if libc is None:
        return
    end = libc.sbrk(0)
    for size in (HIGHEST_THRESHOLD, LARGE_BLOCK):
        while (block := libc.malloc(size)) is not None and block < end:
            _closed.append(block)
        libc.free(block)  # a mapping of its own, so there is no such hole left


def _open_holes() -> None:
    libc = _libc()
    while libc is not None and _closed:
        libc.free(_closed.pop())


def _libc() -> ctypes.CDLL | None:
    """glibc, with the types of what this module calls; None on another system or with another C library."""
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
        libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
        libc.mallopt, libc.malloc_trim  # noqa: B018 -- musl has neither
    except (OSError, AttributeError):
        return None
    return libc


def _set_thresholds(mapped_from: int, kept_at_end: int) -> bool:
    libc = _libc()
    if libc is None or any(name in os.environ for name in _VARIABLES):
        return False
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, mapped_from)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, kept_at_end))
