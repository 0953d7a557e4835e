"""Measures the peak memory of a phase.

On a GPU, the peak is the most memory that torch's allocator reserved. Without a GPU, it is the peak of the process's resident
memory. A thread reads it every few milliseconds, because no operating system reports a peak for each phase.
"""

from __future__ import annotations

import threading
from types import TracebackType

import psutil
import torch

from lilift.memory.planned_card import MIB

_SAMPLE_SECONDS = 0.02
_open_on_gpu: list[MemoryProbe] = []


class MemoryProbe:
    """Context manager that measures the peak inside its block, in MiB.

    Example:
        >>> with MemoryProbe("cpu") as probe:
        ...     _ = bytearray(1000)
        >>> probe.peak_mib > 0
        True
    """

    def __init__(self, device_kind: str) -> None:
        self._cuda = device_kind == "cuda"
        self._process = psutil.Process()
        self._peak_bytes = 0
        self._finished = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True, name="memory-probe")

    def __enter__(self) -> MemoryProbe:
        if self._cuda:
            # torch keeps one peak for all probes. Before an inner probe resets it, the outer probes read it.
            for outer in _open_on_gpu:
                outer._look()
            torch.cuda.reset_peak_memory_stats()
            _open_on_gpu.append(self)
        else:
            self._look()
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._cuda:
            self._look()
            _open_on_gpu.remove(self)
        else:
            self._finished.set()
            self._sampler.join()
            self._look()

    @property
    def peak_mib(self) -> float:
        """The peak so far, in MiB."""
        if self in _open_on_gpu:
            self._look()
        return round(self._peak_bytes / MIB, 1)

    def _look(self) -> None:
        now = torch.cuda.max_memory_reserved() if self._cuda else self._process.memory_info().rss
        self._peak_bytes = max(self._peak_bytes, now)

    def _sample(self) -> None:
        while not self._finished.wait(_SAMPLE_SECONDS):
            self._look()
