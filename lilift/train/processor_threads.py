"""How many threads torch computes with on a CPU, and how these threads wait for each other.

torch's threads wait for each other at the end of every operation. By default a waiting thread spins: it occupies its core and
checks again and again. On a busy machine, spinning threads take the cores from the threads that they wait for, so that a small
model runs 50 times slower. A passive thread sleeps instead.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lilift.processes.torchrun_environment import started_by_torchrun
from lilift.recipe.errors import LiliftError

if TYPE_CHECKING:
    from lilift.recipe.schema import Recipe

SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""torch takes its number of threads from these variables. `torchrun` sets the first one."""
ENVIRONMENT = "environment.json"
MULTIPLY_ADDS_OF_A_THREAD = 32_000_000
"""A thread repays its coordination if its share of a product of a micro-batch [T, D] with a weight [D, D] is at least so large.

In steps of 1024 tokens at a width of 128, two passive threads on two free cores are 1.07 times as fast as one, and with one
core busy 0.79 times (`benchmarks/results/busy_cores.json`). From a width of 256 on, two threads gained something in a trial on
a busy machine, which has no result file.
"""
_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))


def wait_passively() -> None:
    """Let waiting threads sleep, unless you set `OMP_WAIT_POLICY` yourself. Call it before anything imports torch.

    The OpenMP library reads the variable once, when torch loads it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(recipe: Recipe, run: Path, processes: int = 1) -> int:
    """Set torch's number of threads for a recipe on a CPU, and return it.

    Another number of threads changes the order of sums and so the last digits of a result. A run therefore keeps the number of
    threads that it began with, if this machine has so many cores. Your own `OMP_NUM_THREADS` always counts. On a GPU, torch's
    default stays.

    Args:
        recipe: the recipe, with the plan's changes.
        run: its run folder, which may not exist yet.
        processes: processes of this run on this machine, which share the cores. `torchrun` sets `OMP_NUM_THREADS` for them.

    Raises:
        ModelError: lilift cannot read the LLM's configuration.
    """
    import torch

    if recipe.card == "cpu" and not set_by_user():
        usable = max(1, usable_threads() // processes)
        recorded = _recorded(run)
        torch.set_num_threads(recorded if recorded is not None and recorded <= usable else min(usable, _repaid_by(recipe)))
    return torch.get_num_threads()


def share_cores(processes: int) -> None:
    """Leave the other processes of this machine their part of the cores, unless you set the number of threads yourself.

    Args:
        processes: those that compute side by side.
    """
    import torch

    if processes > 1 and not set_by_user():
        torch.set_num_threads(max(1, usable_threads() // processes))


def set_by_user() -> bool:
    """Whether an environment variable sets the number of threads."""
    return any(os.environ.get(name) for name in SET_BY_USER)


@cache
def usable_threads() -> int:
    """torch's default number of threads, but no more than the cores of a container's quota, which torch does not know."""
    import torch

    quota = _quota_cores(*_QUOTAS)
    return torch.get_num_threads() if quota is None else max(1, min(torch.get_num_threads(), int(quota)))


def machine_cores() -> int:
    """The cores of this machine that the processes of this run may use together; it needs no torch.

    torchrun or the user gives each of them `OMP_NUM_THREADS`.
    """
    started = started_by_torchrun()
    for name in SET_BY_USER:
        if (own := os.environ.get(name, "")).isdigit() and int(own) > 0:
            return int(own) * (1 if started is None else started.local_size)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cores(*_QUOTAS)
    return cores if quota is None else max(1, min(cores, int(quota)))


def repaid_threads(width: int, tokens: int) -> int:
    """The largest number of threads that speeds up a step.

    Args:
        width: D, the LLM's hidden size.
        tokens: T, tokens of a micro-batch.
    """
    return max(1, width * width * tokens // MULTIPLY_ADDS_OF_A_THREAD)


def _repaid_by(recipe: Recipe) -> int:
    from lilift.memory.model_configurations import load_llm_config

    stages = [getattr(recipe, name) for name in recipe.stages] or [recipe.align]
    width: int = load_llm_config(recipe.llm).get_text_config().hidden_size
    return repaid_threads(width, max(stage.tokens_per_micro_batch for stage in stages))


def _recorded(run: Path) -> int | None:
    """The number of threads that the run began with; None if there is no record or lilift cannot read it."""
    from lilift.recipe import storage

    try:
        content = storage.read_json(run / ENVIRONMENT)
    except LiliftError:
        return None
    threads = content.get("threads") if isinstance(content, dict) else None
    return threads if type(threads) is int and threads > 0 else None


def _quota_cores(second_version: Path, first_version: Path) -> float | None:
    """The cores that a container may use, from the files of cgroups; None without a quota."""
    try:
        if second_version.is_file():
            quota, period = second_version.read_text(encoding="ascii").split()
        else:
            quota = first_version.read_text(encoding="ascii").strip()
            period = first_version.with_name("cpu.cfs_period_us").read_text(encoding="ascii").strip()
        return float(quota) / float(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError):
        return None
