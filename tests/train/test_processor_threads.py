"""A run takes as many threads as its model repays, keeps that number, and never overrides the user's own."""

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
from lilift.train.processor_threads import repaid_threads, usable_threads, use_threads, wait_passively


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
