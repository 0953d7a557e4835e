"""Makes the C library return freed blocks to the system, so that a run on a CPU holds only the memory that it uses.

glibc serves blocks of up to 32 MiB from a heap that shrinks only at its end. One small block that lives on keeps everything
below it. A training step frees hundreds of large blocks in another order than it took them, so the heap grows over the steps,
by a quarter to two fifths of the peak (measured with SmolLM2-135M's shape). With a fixed threshold, each large block is a
mapping of its own, and freeing it returns it. This module imports no heavy package.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Names of mallopt's parameters in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# A mapping costs page faults. Below this size they would cost more than they save: most tensors of `tiny-cpu` stay on the heap.
LARGE_BLOCK = 1024**2
# Bytes at the end of the heap that glibc keeps for the next small blocks.
KEPT_AT_END = 16 * 1024**2
# glibc accepts no larger threshold. Below it, a block comes from the heap, which keeps so many free bytes at its end.
LARGEST_THRESHOLD, KEPT_WHILE_TRAINING = 32 * 1024**2, 512 * 1024**2
# Training keeps freed memory if the free memory is so many times the planned peak. A process then grew by 7 to 18%.
ROOM = 2.0
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


def return_large_blocks() -> bool:
    """Set both thresholds for this process. Call it once, before the first large allocation.

    Returns:
        Whether the C library accepted them. It stays as it is on another C library than glibc, and if the environment chooses
        thresholds or another allocator (``LD_PRELOAD``).
    """
    return _set_thresholds(LARGE_BLOCK, KEPT_AT_END)


@contextmanager
def keeping_freed_memory(free_bytes: int, peak_mib: float | None) -> Iterator[bool]:
    """Let the process keep freed blocks for the next step, if the machine has much more memory than the process needs.

    Every block that returns to the system costs page faults when the next step takes it again. They took a fifth of the
    processor time of a training step with the shapes of SmolLM2-135M. Afterwards, blocks return to the system again.

    Args:
        free_bytes: the free memory of this machine.
        peak_mib: the planned peak of the process; None if there is no plan, and blocks then return to the system.

    Yields:
        Whether the process keeps them.
    """
    keeps = peak_mib is not None and free_bytes >= ROOM * peak_mib * 1024**2
    if not (keeps and _set_thresholds(LARGEST_THRESHOLD, KEPT_WHILE_TRAINING)):
        yield False
        return
    try:
        yield True
    finally:
        return_large_blocks()
        return_small_blocks()


def _set_thresholds(mapped: int, kept_at_end: int) -> bool:
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl and others
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, mapped)) and bool(mallopt(_M_TRIM_THRESHOLD, kept_at_end))


def return_small_blocks() -> None:
    """Return the free pages between small blocks too, which costs milliseconds. Call it after a model was released."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
