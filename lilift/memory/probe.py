"""Peak memory of a phase, as measured.

On a GPU the figure is what torch's allocator reserved at most; without one it is the process's resident memory, read by a
thread every few milliseconds, since no operating system reports a peak per phase.
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
    """Context manager: the peak between entering and leaving it, in MiB.

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
            # torch keeps one peak for all: a probe inside another takes down what the outer one has seen before it starts anew.
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
        """The highest figure so far, in MiB."""
        if self in _open_on_gpu:
            self._look()
        return round(self._peak_bytes / MIB, 1)

    def _look(self) -> None:
        now = torch.cuda.max_memory_reserved() if self._cuda else self._process.memory_info().rss
        self._peak_bytes = max(self._peak_bytes, now)

    def _sample(self) -> None:
        while not self._finished.wait(_SAMPLE_SECONDS):
            self._look()
