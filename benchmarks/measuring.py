"""Time, peak memory and error of competing functions, on a GPU or on the CPU, side by side in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Run = Callable[[], Tensor]  # computes everything and returns the gradient (or output) that is compared


@dataclass(frozen=True)
class Figure:
    """What one competitor took."""

    milliseconds: float  # median
    spread: float  # interquartile range over median
    peak_mebibytes: float  # beyond its arguments and its result
    error: float  # relative L2 against float64


def compare(
    competitors: Mapping[str, Sequence[Run]], error_of: Callable[[Tensor], float], device: torch.device, *, repeats: int
) -> dict[str, Figure | str]:
    """Measure every competitor; in turns, so that a machine that slows down slows all of them.

    Args:
        competitors: by name, the same computation over several sets of inputs, taken in rotation so that caches do not help.
        error_of: the error of the result of a competitor's first set.

    Returns:
        For each name its figures, or the first line of the error that it failed with.
    """
    found: dict[str, Figure | str] = {}
    alive: dict[str, Sequence[Run]] = {}
    facts: dict[str, tuple[float, float]] = {}
    for name, runs in competitors.items():
        try:
            error = error_of(runs[0]())
            for run in runs:  # compiles, fills caches
                run()
            facts[name] = error, peak_bytes(runs[0], device) / 2**20
            alive[name] = runs
        except Exception as failure:
            # A peer that does not run here is a finding to report, not a reason to lose the others' figures.
            first = str(failure).strip().splitlines()[:1] or ["no message"]
            found[name] = f"{type(failure).__name__}: {first[0][:200]}"
    times: dict[str, list[float]] = {name: [] for name in alive}
    for turn in range(repeats):
        for name, runs in alive.items():
            times[name].append(seconds(runs[turn % len(runs)], device))
    for name, taken in times.items():
        median = statistics.median(taken)
        low, _, high = statistics.quantiles(taken, n=4) if len(taken) > 1 else (median, median, median)
        error, peak = facts[name]
        found[name] = Figure(1000 * median, (high - low) / median, peak, error)
    return {name: found[name] for name in competitors}


def seconds(run: Run, device: torch.device) -> float:
    """Time of one call: between two CUDA events on a GPU, by the wall clock elsewhere."""
    if device.type == "cuda":
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        result = run()
        after.record()
        after.synchronize()
        del result
        return before.elapsed_time(after) / 1000
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most memory held during a call, beyond what was held before it and beyond its result."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before - result.nbytes
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak - result.nbytes


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
