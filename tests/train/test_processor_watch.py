"""lilift says once that steps take much longer than the processor works on them."""

from __future__ import annotations

import os

import pytest
import torch

from lilift.train.processor_watch import ProcessorWatch, busiest_programs, slow_line


class Machine:
    """Two clocks: each step takes `seconds`, of which the thread computes `computed`."""

    def __init__(self) -> None:
        self.now, self.computing = 0.0, 0.0
        self.lines: list[str] = []
        self.watch = ProcessorWatch(
            self.lines.append,
            clock=lambda: self.now,
            processor_clock=lambda: self.computing,
            others=lambda: ["stress (process 7) 99% of a core"],
        )

    def steps(self, count: int, *, seconds: float, computed: float) -> None:
        for _ in range(count):
            with self.watch.step():
                self.now += seconds
                self.computing += computed
            self.now += 50.0  # reading rows and writing checkpoints do not count


def test_steps_that_wait_are_noted_once() -> None:
    machine = Machine()
    machine.steps(60, seconds=1.0, computed=0.25)
    assert len(machine.lines) == 1
    assert "4.0 times" in machine.lines[0]
    assert "stress (process 7) 99% of a core" in machine.lines[0]


def test_steps_that_compute_are_not_noted() -> None:
    machine = Machine()
    machine.steps(60, seconds=1.0, computed=0.5)  # the thread may wait for others for half of the time
    assert machine.lines == []


def test_a_short_pause_is_not_noted() -> None:
    machine = Machine()
    machine.steps(2, seconds=2.0, computed=0.1)
    machine.steps(40, seconds=1.0, computed=1.0)
    assert machine.lines == []


def test_the_remedy_names_fewer_threads_only_if_there_are_more_than_one() -> None:
    assert "OMP_NUM_THREADS=2 (now 4)" in slow_line(3.0, 4, ["a"])
    assert "OMP_NUM_THREADS" not in slow_line(3.0, 1, ["a"])
    assert "virtual machine" in slow_line(3.0, 1, [])


def test_the_sample_leaves_this_process_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilift.train.processor_watch.SAMPLE_SECONDS", 0.01)
    torch.zeros(1)
    assert all(f"(process {os.getpid()})" not in line for line in busiest_programs())
