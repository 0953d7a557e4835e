"""Notices that steps take much longer than the processor works on them, and tells the user why, once a stage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import torch

from lilift.processes.torchrun_environment import started_by_torchrun

SLOW = 2.5
"""Steps are slow if they take so many times the processor time of the thread that leads them.

This thread waits for the others only briefly, also on an idle machine with fast and slow cores. It sleeps while it waits.
"""
LEAST_SECONDS, LEAST_STEPS = 10.0, 5
"""One decision is about so many seconds and steps."""
SAMPLE_SECONDS = 0.5
NAMED = 3


class ProcessorWatch:
    """Compares the time of steps with the processor time that they get, and notes once that other programs slow them down.

    Args:
        note: receives one line for the user.
        clock: seconds since any fixed moment.
        processor_clock: seconds that the calling thread has computed.
        others: the busiest other programs.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        processor_clock: Callable[[], float] = time.thread_time,
        others: Callable[[], list[str]] | None = None,
    ) -> None:
        self._note, self._clock, self._processor_clock = note, clock, processor_clock
        self._others = busiest_programs if others is None else others
        self._noted = False
        self._seconds = self._computed = 0.0
        self._steps = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure the block as one step."""
        began, began_computing = self._clock(), self._processor_clock()
        yield
        self._seconds += self._clock() - began
        self._computed += self._processor_clock() - began_computing
        self._steps += 1
        if self._seconds >= LEAST_SECONDS and self._steps >= LEAST_STEPS:
            if self._seconds > SLOW * self._computed and not self._noted:
                self._noted = True
                self._note(slow_line(self._seconds / max(self._computed, 1e-9), torch.get_num_threads(), self._others()))
            self._seconds = self._computed = 0.0
            self._steps = 0


def slow_line(times: float, threads: int, others: list[str]) -> str:
    """What the user reads.

    Args:
        times: how many times longer steps take than the processor works on them.
        threads: torch's number of threads.
        others: the busiest other programs.
    """
    if others:
        why, remedy = f"other programs use the processor ({', '.join(others)})", "Close them"
    else:
        why = "something outside lilift's view holds it up (a container's quota, a virtual machine's host, or full memory)"
        remedy = "Look for it"
    fewer = f", or stop lilift and resume with OMP_NUM_THREADS={max(1, threads // 2)} (now {threads})" if threads > 1 else ""
    return f"  steps take {times:.1f} times as long as lilift computes, because {why}. {remedy}{fewer}"


def busiest_programs() -> list[str]:
    """Names of the busiest programs beside this one, with their share of a core, from a short sample."""
    own = _own_processes()
    seen: list[psutil.Process] = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            process.cpu_percent()  # the first call begins the measurement
            seen.append(process)
    time.sleep(SAMPLE_SECONDS)
    shares: list[tuple[float, int, str]] = []
    for process in seen:
        with suppress(psutil.Error):
            share = process.cpu_percent()
            if share >= 20 and process.pid not in own:
                shares.append((share, process.pid, process.name()))
    return [f"{name} (process {pid}) {share:.0f}% of a core" for share, pid, name in sorted(shares, reverse=True)[:NAMED]]


def _own_processes() -> set[int]:
    """This process, and the others of the same run on this machine."""
    own = {os.getpid()}
    if started_by_torchrun() is not None:
        with suppress(psutil.Error):
            own |= {child.pid for child in psutil.Process(os.getppid()).children()}
    return own
