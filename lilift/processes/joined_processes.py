"""The processes of one run: they wait for each other, hear what the first one says, and notice when one is gone.

torch.distributed does the work. Short messages go through its key-value store, which torchrun keeps outside the processes.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import torch.distributed as dist

from lilift.processes.mailbox import Mailbox
from lilift.processes.stuck_exit import Starter
from lilift.processes.torchrun_environment import Started
from lilift.recipe.errors import LiliftError, TrainingError, print_error
from lilift.recipe.interrupt import AGAIN, KEPT, Interruption, StoppedBySignal, ignore_signals

Result = TypeVar("Result")
STUCK_SECONDS = 600.0
"""A process that does not come to the end of a step within so many seconds after the first one counts as stuck."""
LONGEST_WAIT = timedelta(days=7)
"""A process waits so long for the first one, which may prepare data for hours. If the first one ends, torchrun ends all."""
_LOADING = 6
"""`gather` waits so many times longer: processes may load models, or count rows, at different speeds."""
_POLL_SECONDS = 0.05
_SECONDS_BETWEEN_CHECKS = 2.0
_LAST_WORDS_SECONDS = 20.0
_FIRST_SPEAKS_SECONDS = 3.0  # the first process most likely has the same error, and says it for all
_LEAVING_SECONDS = 120.0
_LEFT = "left by signal"  # a key of the store


class ProcessLost(TrainingError):
    """Another process of the run has ended or does not answer."""


class Processes:
    """The processes of a run, as one of them sees them.

    Args:
        started: the place of this process.
        store: torch's key-value store, which all processes share; None for a process that is alone.
        stuck_seconds: see `STUCK_SECONDS`.
        starter: the process that started this one, if it must not outlive it.
    """

    def __init__(
        self, started: Started, store: Any = None, *, stuck_seconds: float = STUCK_SECONDS, starter: Starter | None = None
    ) -> None:
        self.started, self._starter = started, starter
        self.rank, self.size = started.rank, started.size
        self.stuck_seconds = stuck_seconds
        self._store = store
        self._said = self._gathered = self._boxes = 0
        self.released = False  # whether the first process has let the others end
        self._control: Any = None  # a gloo group, also beside NCCL: only gloo's barrier names the process that is missing
        if store is not None:
            self._control = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
            store.set(f"pid/{self.rank}", json.dumps([os.getpid(), socket.gethostname()]))

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this process leads the run: it prepares, writes files, shows progress, evaluates and exports."""
        return self.rank == 0

    def say(self, value: Any) -> None:
        """Send a JSON value to the other processes; only the first one may call it."""
        self._store.set(f"said/{self._said}", json.dumps(value))
        self._said += 1

    def hear(self, interruption: Interruption | None = None) -> Any:
        """The next value that the first process sends; this process waits for it, as long as it takes.

        Raises:
            StoppedBySignal: `interruption` was requested. The first process has the signal too, or torchrun sends it one as
                soon as this process has left; it prints what it has saved.
            ProcessLost: the first process has ended.
        """
        key = f"said/{self._said}"
        with self.losses_named():
            began = time.monotonic()
            while not self._store.check([key]):
                if interruption is not None and interruption.requested:
                    self._store.set(_LEFT, str(interruption.number))
                    stopped = interruption.stop("stopped while it waited for process 0")
                    stopped.printed = True
                    raise stopped
                time.sleep(_POLL_SECONDS)  # a wait inside torch would not let Ctrl-C through
                if time.monotonic() - began > _SECONDS_BETWEEN_CHECKS:
                    began = time.monotonic()
                    if 0 in self.gone() and not self._store.check([key]):
                        raise self._lost()
            value = json.loads(self._store.get(key))
        self._said += 1
        return value

    def from_first(self, make: Callable[[], Result]) -> Result:
        """What `make` returns in the first process. The others do not call it, and wait. It must be a JSON value."""
        if self.alone:
            return make()
        if self.is_first:
            made = make()
            self.say(made)
            return made
        heard: Result = self.hear()
        return heard

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, by rank. Every process must call it.

        Raises:
            ProcessLost: a process has ended or does not come.
        """
        if self.alone:
            return [value]
        name = f"gathered/{self._gathered}"
        self._gathered += 1
        self._store.set(f"{name}/{self.rank}", json.dumps(value))
        with self.losses_named():
            keys = [f"{name}/{rank}" for rank in range(self.size)]
            began = looked = time.monotonic()
            while not self._store.check(keys):
                if time.monotonic() - looked > _SECONDS_BETWEEN_CHECKS:
                    looked = time.monotonic()
                    if any(not self._store.check([keys[rank]]) for rank in self.gone()):
                        raise self._lost()
                if time.monotonic() - began > _LOADING * self.stuck_seconds:
                    missing = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
                    raise self._stuck(missing, _LOADING * self.stuck_seconds)
                time.sleep(_POLL_SECONDS)
            return [json.loads(self._store.get(key)) for key in keys]

    def meet(self) -> None:
        """Wait until every process is here.

        Raises:
            ProcessLost: a process has ended, or it does not come; the first process names it.
        """
        if self.alone:
            return
        began = time.monotonic()
        try:
            # torch's own limit counts for the first process. The others wait for its answer a little longer.
            allowed = self.stuck_seconds + (0 if self.is_first else 30)
            dist.monitored_barrier(self._control, timeout=timedelta(seconds=allowed))
        except RuntimeError as error:
            if time.monotonic() - began >= self.stuck_seconds:
                missing = re.search(r"[Rr]ank (\d+) failed to pass monitoredBarrier", str(error))
                late = 0 if not self.is_first else int(missing[1]) if missing is not None else None
                if late is not None and late not in self.gone():
                    raise self._stuck([late], self.stuck_seconds) from error
            raise self._lost() from error

    def mailbox(self) -> Mailbox:
        """A new box for messages to the first process; every process must call it. Use it inside `losses_named`."""
        self._boxes += 1
        return Mailbox(self._store, f"mail/{self._boxes}", self.rank, self.size)

    def require_all(self) -> None:
        """Check that no process of this machine has ended.

        Raises:
            ProcessLost: one has.
        """
        if self.gone():
            raise self._lost()

    @contextmanager
    def losses_named(self) -> Iterator[None]:
        """Turn torch's errors about a lost connection into `ProcessLost`. Put only torch.distributed's own calls inside."""
        try:
            yield
        except RuntimeError as error:
            raise self._lost() from error

    def _lost(self) -> LiliftError:
        names = ""
        for _ in range(10):
            if self._starter is not None:
                self._starter.leave_if_gone()
            with suppress(RuntimeError):  # the store may have ended too
                if self._store.check([_LEFT]):
                    interruption = Interruption()
                    interruption.request(int(self._store.get(_LEFT)))
                    return interruption.stop(f"stopped; {KEPT}", AGAIN)
                if gone := self.gone():
                    names = " and ".join(map(self._named, gone))
                    break
            time.sleep(0.1)  # the connection breaks a moment before the process is gone
        return ProcessLost(
            f"{names or 'another process of this run'} has ended; {KEPT}",
            remedy=AGAIN,
        )

    def _stuck(self, ranks: list[int], seconds: float) -> ProcessLost:
        names = " and ".join(self._named(rank) for rank in ranks)
        return ProcessLost(
            f"{names} has not answered for {seconds:,.0f} seconds; lilift keeps the last checkpoint",
            remedy="look at that process and its machine, then run the same command with --resume",
        )

    def _named(self, rank: int) -> str:
        pid, machine = json.loads(self._store.get(f"pid/{rank}"))
        return f"process {rank} (pid {pid} on {machine})"

    def gone(self) -> list[int]:
        """The processes of this machine that have ended."""
        places = [json.loads(self._store.get(f"pid/{rank}")) for rank in range(self.size)]
        return [rank for rank, (pid, machine) in enumerate(places) if machine == socket.gethostname() and not _runs(pid)]

    def last_words(self, error: LiliftError) -> LiliftError:
        """Print an error once for all processes, and mark it as printed.

        The process that fails first prints its line. The others leave quietly. torchrun ends all processes as soon as one has
        left, so the others wait until the first process has printed why it stops.
        """
        if self.alone or error.printed:
            return error
        stopped = isinstance(error, StoppedBySignal)
        try:
            if not self.is_first and stopped:
                self._wait_for_last_words()
            elif isinstance(error, ProcessLost) and self.started.by_lilift and "has ended" in error.what:
                pass  # the process that started torchrun says it
            elif self._says(error):
                print_error(f"{'' if self.is_first else f'{self.started.name}: '}{error}")
                self._store.set("printed", "yes")
            else:
                self._wait_for_last_words()
        except RuntimeError:  # the store has ended with torchrun
            if self.is_first:
                print_error(str(error))
        error.printed = True
        return error

    def leave(self) -> None:
        """Leave at the end, the first process last: with some settings of torchrun it holds the store of all."""
        with suppress(RuntimeError):
            if not self.is_first:
                ignore_signals()  # this process has nothing left to stop, and must not look as if it was killed
                self._store.add("left", 1)
                return
            until = time.monotonic() + _LEAVING_SECONDS
            others = self.size - 1
            while self._store.add("left", 0) < others and len(self.gone()) < others and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)

    def _says(self, error: LiliftError) -> bool:
        """Whether this process is the one that prints its error."""
        if not self.is_first and not isinstance(error, ProcessLost):
            self._wait_for_last_words(_FIRST_SPEAKS_SECONDS)
        return bool(self._store.add("last words", 1) == 1)

    def _wait_for_last_words(self, seconds: float = _LAST_WORDS_SECONDS) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._store.check(["printed"]):
            time.sleep(_POLL_SECONDS)


ALONE = Processes(Started(0, 1, 0, 1))
"""A run of one process, without torchrun."""


def _runs(pid: int) -> bool:
    """Whether a process of this machine still runs. A process that nobody has waited for yet has ended too."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
