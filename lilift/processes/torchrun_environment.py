"""What torchrun tells a process in its environment variables; it needs no torch."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

LAUNCHED_BY_LILIFT = "LILIFT_LAUNCHED"
"""Set by `lilift recipe run --processes`, which itself says when a process was killed."""
FIRST_SPEAKS_SECONDS = 10.0
"""A process leaves the first one of its machine so many seconds to print an error that all have before they meet."""


@dataclass(frozen=True)
class Started:
    """The place of this process among those that torchrun started.

    Attributes:
        rank: number of the process, from 0. Process 0 leads the run.
        size: number of processes on all machines.
        local_rank, local_size: the same on this machine.
        by_lilift: whether lilift itself started torchrun.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    by_lilift: bool = False

    @property
    def name(self) -> str:
        """The name of this process in messages."""
        return f"process {self.rank} of {self.size} on {socket.gethostname()}"


def started_by_torchrun() -> Started | None:
    """The place of this process; None if torchrun did not start it, or started it alone."""
    if not all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size == 1:
        return None
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return Started(rank, size, local_rank, local_size, LAUNCHED_BY_LILIFT in os.environ)


def let_first_speak() -> None:
    """Wait while the first process of this machine prints an error that this one has too; torchrun then ends this one.

    If the wait ends, the first process does not have the error.
    """
    started = started_by_torchrun()
    if started is not None and started.local_rank > 0:
        with suppress(KeyboardInterrupt):
            time.sleep(FIRST_SPEAKS_SECONDS)
