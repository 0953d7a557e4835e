"""Joins the processes of a run: each finds the others, and takes the GPU that it computes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from lilift.processes.joined_processes import STUCK_SECONDS, Processes
from lilift.processes.stuck_exit import Starter
from lilift.processes.torchrun_environment import Started
from lilift.recipe.errors import EnvironmentUnfit, LiliftError


@contextmanager
def joined(
    started: Started,
    *,
    device: str,
    store: Any = None,
    stuck_seconds: float = STUCK_SECONDS,
    starter: Starter | None = None,
) -> Iterator[Processes]:
    """Join the other processes of this run.

    Args:
        started: the place of this process.
        device: what gradients are on: ``cuda`` (NCCL carries them) or ``cpu`` (gloo).
        store: torch's key-value store; by default torchrun's.
        stuck_seconds: see `STUCK_SECONDS`.
        starter: the process that started this one, if it must not outlive it.

    Raises:
        EnvironmentUnfit: this torch has no NCCL, there are more processes than GPUs, or the processes cannot reach each other.
    """
    if not dist.is_available() or not dist.is_gloo_available():
        raise EnvironmentUnfit("this torch cannot connect processes", remedy="install torch from PyPI, or use one process")
    if device == "cuda":
        _take_card(started)
    timeout = timedelta(seconds=2 * stuck_seconds)
    try:
        if store is None:
            store, _, _ = next(rendezvous("env://", started.rank, started.size, timeout=timeout))
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=started.rank, world_size=started.size, timeout=timeout)
        own = dist.PrefixStore("lilift", store)  # type: ignore[attr-defined]
        processes = Processes(started, own, stuck_seconds=stuck_seconds, starter=starter)
        processes.meet()
    except (RuntimeError, ValueError) as error:
        if isinstance(error, LiliftError):
            raise
        raise _unreachable(error) from error
    whole = False
    try:
        yield processes
        whole = True
    finally:
        if whole:
            processes.leave()
        if whole or device == "cpu":  # NCCL would wait for a process that is gone
            dist.destroy_process_group()


def _take_card(started: Started) -> None:
    """Compute on the GPU of this process.

    Raises:
        EnvironmentUnfit: see `joined`.
    """
    cards = torch.cuda.device_count()
    if started.local_size > cards:
        raise too_few_gpus(started.local_size, cards, f"start at most {cards}")
    if not dist.is_nccl_available():
        raise EnvironmentUnfit(
            "this torch has no NCCL, which connects GPUs", remedy="install torch for Linux and CUDA, or use one process"
        )
    torch.cuda.set_device(started.local_rank)


def too_few_gpus(processes: int, cards: int, remedy: str) -> EnvironmentUnfit:
    """The error if this machine has fewer GPUs than processes; `remedy` if it has any."""
    found = f"this machine has {cards}" if cards else "lilift found none"
    return EnvironmentUnfit(
        f"{processes} processes need a CUDA GPU each, and {found}",
        remedy=remedy if cards else "see `lilift doctor`, or try the recipe tiny-cpu, which needs no GPU",
    )


def _unreachable(error: Exception) -> EnvironmentUnfit:
    where = f"{os.environ.get('MASTER_ADDR', 'localhost')}:{os.environ.get('MASTER_PORT', '?')}"
    text = " ".join(str(error).split())
    if "EADDRINUSE" in text or "in use" in text:
        return EnvironmentUnfit(
            "another program uses this port",
            where=where,
            remedy="start torchrun with --rdzv-endpoint localhost:0, or another port",
        )
    return EnvironmentUnfit(
        f"the processes cannot reach each other ({text[:200]})",
        where=where,
        remedy="open the ports between the machines, or set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to their network device",
    )
