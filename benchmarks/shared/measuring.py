"""Measure time, peak memory and error of competing functions, on a GPU or on the CPU, side by side in one run."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Result = Tensor | tuple[Tensor, ...]
Run = Callable[[], Result]  # computes everything and returns the gradients (or output) that are compared
LEAST_REPEATS, LONGEST_SECONDS = 5, 0.5  # of one competitor on one shape
LONGEST_HEAD_START = 0.02  # seconds
CYCLES_PER_SECOND = 2e9  # of a GPU, roughly
BROKEN = 3  # exit code of a benchmark that stopped because a competitor broke the GPU, or hung
LONGEST_CALLS = 90  # seconds for one competitor's compilation and first calls; on a GPU, a longer call hangs


@dataclass(frozen=True)
class Figure:
    """The time, memory and error of one competitor."""

    milliseconds: float  # median
    spread: float  # interquartile range over median
    peak_mebibytes: float  # beyond its arguments and its result
    error: float  # relative L2 against float64


class Watch:
    """Writes into a file which competitor is running, and ends the process if one of them hangs.

    If a competitor crashes the process, the file remains, and :func:`culprit` reads it.
    """

    def __init__(self, output: Path | None = None, seconds: float = LONGEST_CALLS) -> None:
        self.file = None if output is None else _marker(output)
        self.seconds = seconds

    @contextmanager
    def over(self, competitor: str, device: torch.device) -> Iterator[None]:
        """Watch this competitor. On a CPU there is no time limit."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(competitor, encoding="utf-8")
        timer = threading.Timer(self.seconds, self._give_up, [competitor])
        timer.daemon = True
        if device.type == "cuda":
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if self.file is not None:
            self.file.unlink()

    def _give_up(self, competitor: str) -> None:
        print(f"{competitor} has not returned for {self.seconds:.0f} s", flush=True)
        os._exit(BROKEN)  # nothing else ends a thread that waits for a GPU


def culprit(output: Path) -> str | None:
    """The competitor that was running when the process that writes ``output`` crashed."""
    marker = _marker(output)
    return marker.read_text(encoding="utf-8") if marker.exists() else None


def _marker(output: Path) -> Path:
    return output.with_suffix(".at-work")


def compare(
    competitors: Mapping[str, Sequence[Run]],
    error_of: Callable[[Any], float],
    device: torch.device,
    *,
    repeats: int,
    watch: Watch | None = None,
) -> dict[str, Figure | str]:
    """Measure every competitor, in turns, so that a machine that slows down slows all of them.

    Args:
        competitors: by name, the same computation over several sets of inputs, taken in rotation so that caches do not help.
        error_of: the error of the result of a competitor's first set.
        repeats: timings of each; slow competitors get fewer, but at least five.
        watch: records which competitor is running.

    Returns:
        For each name its figures, or the first line of its error.

    Raises:
        BrokenDevice: a competitor has made the GPU unusable, so that no measurement can follow.
    """
    watch = watch or Watch()
    found: dict[str, Figure | str] = {}
    alive: dict[str, tuple[Sequence[Run], Clock]] = {}
    facts: dict[str, tuple[float, float]] = {}
    for name, runs in competitors.items():
        with watch.over(name, device):
            try:
                error = error_of(runs[0]())
                for run in runs:  # compiles, fills caches
                    run()
                facts[name] = error, peak_bytes(runs[0], device) / 2**20
                alive[name] = runs, (CudaClock if device.type == "cuda" else Clock)(runs[0])
            except Exception as failure:
                # A peer that does not run is a result to report. The others' figures are still valid.
                found[name] = first_line(failure)
            _check_device(name, found.get(name), device)
    times: dict[str, list[float]] = {name: [] for name in alive}
    for turn in range(repeats):
        for name, (runs, clock) in list(alive.items()):
            if turn >= LEAST_REPEATS and sum(times[name]) > LONGEST_SECONDS:
                continue
            with watch.over(name, device):
                try:
                    times[name].append(clock.seconds(runs[turn % len(runs)]))
                except Exception as failure:
                    found[name] = first_line(failure)
                    del alive[name]
                    _check_device(name, found[name], device)
    for name in alive:
        taken = times[name]
        median = statistics.median(taken)
        low, _, high = statistics.quantiles(taken, n=4) if len(taken) > 1 else (median, median, median)
        error, peak = facts[name]
        found[name] = Figure(1000 * median, (high - low) / median, peak, error)
    return {name: found[name] for name in competitors}


class BrokenDevice(RuntimeError):
    """A competitor has made the GPU unusable."""

    def __init__(self, competitor: str, fault: str) -> None:
        super().__init__(f"{competitor} has left the GPU unusable: {fault}")
        self.competitor = competitor


class Clock:
    """The wall clock."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def seconds(self, run: Run) -> float:
        """Time of one call."""
        started = time.perf_counter()
        run()
        return time.perf_counter() - started


class CudaClock(Clock):
    """Time between two events in the GPU's own stream.

    Before each call the L2 cache is overwritten, and the stream is kept busy for as long as the host takes to queue the call:
    in training, too, the host is ahead. A function that waits for the GPU gains nothing from that, in training or here.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.cache_bytes = 2 * getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 * 2**20)
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        self.head_start = min(1.2 * (time.perf_counter() - started), LONGEST_HEAD_START)
        torch.cuda.synchronize()

    def seconds(self, run: Run) -> float:
        """Time of one call."""
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.empty(self.cache_bytes, dtype=torch.uint8, device="cuda").zero_()
        torch.cuda._sleep(int(self.head_start * CYCLES_PER_SECOND))
        before.record()
        result = run()
        after.record()
        after.synchronize()
        del result
        return before.elapsed_time(after) / 1000


def _check_device(competitor: str, found: Figure | str | None, device: torch.device) -> None:
    """Raise `BrokenDevice` if a competitor's failure has made the GPU unusable for later calls."""
    if device.type != "cuda":
        return
    torch.cuda.empty_cache()
    try:
        torch.cuda.synchronize()
    except Exception as failure:
        raise BrokenDevice(competitor, str(found or first_line(failure))) from failure


def first_line(failure: Exception) -> str:
    """A short text of the error."""
    lines = str(failure).strip().splitlines() or ["no message"]
    return f"{type(failure).__name__}: {lines[0][:200]}"


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most memory held during a call, beyond what was held before it and beyond its result."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before - _bytes(result)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak - _bytes(result)


def _bytes(result: Result) -> int:
    return sum(tensor.nbytes for tensor in ((result,) if isinstance(result, Tensor) else result))


def relative_error(found: Tensor, exact: Tensor) -> float:
    """L2 norm of the difference over that of ``exact``."""
    return ((found.double() - exact).norm() / exact.norm()).item()


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table with the first row's keys as its head."""
    if not rows:
        return ""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(row.get(key, "")) for key in head) + " |" for row in rows)])
