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

# Names of mallopt's parameters in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# A mapping costs page faults. Below this size they would cost more than they save: most tensors of `tiny-cpu` stay on the heap.
LARGE_BLOCK = 1024**2
# Bytes at the end of the heap that glibc keeps for the next small blocks.
KEPT_AT_END = 16 * 1024**2
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


def return_large_blocks() -> bool:
    """Set both thresholds for this process. Call it once, before the first large allocation.

    Returns:
        Whether the C library accepted them. It stays as it is on another C library than glibc, and if the environment chooses
        thresholds or another allocator (``LD_PRELOAD``).
    """
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl and others
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT_AT_END))


def return_small_blocks() -> None:
    """Return the free pages between small blocks too, which costs milliseconds. Call it after a model was released."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return
