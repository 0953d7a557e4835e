"""Freed blocks of host memory go back to the system, but for a time of work; each test in processes of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, ctypes, sys
import psutil
from lilift.memory.host_allocator import freed_blocks_kept, return_large_blocks, return_small_blocks
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
    small.append(block(100 << 10))  # keeps the heap from shrinking
for address in large:
    libc.free(address)
print((psutil.Process().memory_info().rss - before) >> 20)
return_small_blocks()
print((psutil.Process().memory_info().rss - before) >> 20)
"""
# The same in a block that keeps what is freed, and after it.
KEPT = (
    PROGRAM.split("large, small")[0].replace('if sys.argv[1] == "set":\n    ', "")
    + """
def taken_and_freed():
    large, small = [], []
    for _ in range(20):
        large.append(block(8 << 20))
        small.append(block(100 << 10))
    for address in large:
        libc.free(address)
    return (psutil.Process().memory_info().rss - before) >> 20
with freed_blocks_kept() if sys.argv[1] == "keep" else contextlib.nullcontext():
    print(taken_and_freed())
print((psutil.Process().memory_info().rss - before) >> 20)
print(taken_and_freed())
with freed_blocks_kept() if sys.argv[1] == "keep" else contextlib.nullcontext():
    print(taken_and_freed())
"""
)


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
def test_at_work_they_stay_and_afterwards_they_go() -> None:
    found = {}
    for way in ("keep", "return"):
        done = subprocess.run([sys.executable, "-c", KEPT, way], capture_output=True, text=True, check=True)
        found[way] = [int(line) for line in done.stdout.split()]
    at_work, after_work, between, at_work_again = found["keep"]
    assert at_work > 100
    assert after_work < 10
    assert between < 10  # also in the holes that work has left
    assert at_work_again > 100
    assert max(found["return"]) < 10
