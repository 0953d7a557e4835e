"""Freed blocks of host memory go back to the system; in a process of its own, because the setting is one for a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lilift.memory import host_allocator

PROGRAM = """
import ctypes, sys
import psutil
from lilift.memory.host_allocator import return_large_blocks, return_small_blocks
if sys.argv[1] == "set":
    assert return_large_blocks()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def block(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address
libc.free(block(30 << 20))  # from now on, glibc takes blocks of up to 30 MiB from its heap
before = psutil.Process().memory_info().rss
large, small = [], []
for _ in range(20):
    large.append(block(8 << 20))
    small.append(block(4096))  # keeps the heap from shrinking
for address in large:
    libc.free(address)
print((psutil.Process().memory_info().rss - before) >> 20)
return_small_blocks()
print((psutil.Process().memory_info().rss - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_tensors_do_not_stay_on_the_heap() -> None:
    found = {}
    for way in ("set", "not set"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
        found[way] = [int(line) for line in done.stdout.split()]
    assert found["set"][0] < 10
    assert found["not set"][0] > 100  # what lilift sets it for
    assert found["not set"][1] < 10  # also where the setting came too late


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_a_process_keeps_freed_memory_only_where_memory_is_plentiful(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    def record(mapped: int, kept: int) -> bool:
        calls.append((mapped, kept))
        return True

    monkeypatch.setattr(host_allocator, "_set_thresholds", record)
    for free, peak, keeps in ((2000, 1000.0, True), (1999, 1000.0, False), (10**6, None, False)):
        with host_allocator.keeping_freed_memory(free * 1024**2, peak) as kept:
            assert kept == keeps
    kept_thresholds = (host_allocator.LARGEST_THRESHOLD, host_allocator.KEPT_WHILE_TRAINING)
    assert calls == [kept_thresholds, (host_allocator.LARGE_BLOCK, host_allocator.KEPT_AT_END)]
