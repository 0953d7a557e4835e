"""A run takes as many threads as its model repays; lilift says once that steps take much longer than the processor works."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lilift.recipe.load import load_recipe
from lilift.recipe.schema import Recipe
from lilift.train import processor_threads
from lilift.train.processor_threads import machine_cores, repaid_threads, usable_threads, use_threads, wait_passively
from lilift.train.processor_watch import ProcessorWatch, busiest_programs, slow_line


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A machine with 16 cores, and the numbers that lilift sets."""
    numbers = [16]
    for name in processor_threads.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: numbers[-1])
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    usable_threads.cache_clear()
    yield numbers
    usable_threads.cache_clear()


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("tiny-cpu", [])


def test_a_tiny_model_computes_with_one_thread(threads: list[int], recipe: Recipe, tmp_path: Path) -> None:
    assert use_threads(recipe, tmp_path / "new") == 1
    assert threads == [16, 1]


def test_larger_models_repay_more_threads() -> None:
    assert [repaid_threads(width, 1024) for width in (64, 128, 256, 576)] == [1, 1, 2, 10]


@pytest.mark.parametrize(("record", "expected"), [({"threads": 4}, 4), ({"threads": 64}, 1), ({"threads": "4"}, 1), ([], 1)])
def test_a_run_keeps_its_number_if_the_machine_has_so_many_cores(
    threads: list[int], recipe: Recipe, tmp_path: Path, record: object, expected: int
) -> None:
    (tmp_path / "environment.json").write_text(json.dumps(record), encoding="utf-8")
    assert use_threads(recipe, tmp_path) == expected
    assert threads[-1] == expected


def test_the_users_own_number_counts(
    threads: list[int], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert use_threads(recipe, tmp_path) == 16
    assert threads == [16]


def test_a_gpu_run_keeps_torchs_default(threads: list[int], tmp_path: Path) -> None:
    assert use_threads(load_recipe("llama-7b-24gb", []), tmp_path) == 16
    assert threads == [16]


@pytest.mark.parametrize(("text", "expected"), [("250000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 16), ("?", 16)])
def test_a_containers_quota_limits_the_threads(
    threads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    assert threads == [16]
    (tmp_path / "cpu.max").write_text(text, encoding="ascii")
    monkeypatch.setattr(processor_threads, "_QUOTAS", (tmp_path / "cpu.max", tmp_path / "absent"))
    assert usable_threads() == expected


def test_the_first_version_of_cgroups(threads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads == [16]
    (tmp_path / "cpu.cfs_quota_us").write_text("300000\n", encoding="ascii")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    monkeypatch.setattr(processor_threads, "_QUOTAS", (tmp_path / "absent", tmp_path / "cpu.cfs_quota_us"))
    assert usable_threads() == 3


def test_your_own_wait_policy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")  # so that the test leaves nothing behind


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


def test_the_cores_that_processes_use_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert 1 <= machine_cores() <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine_cores() == 3
    place = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert machine_cores() == 6, "torchrun gives each process of this machine so many"
