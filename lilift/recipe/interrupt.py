"""Ctrl-C and SIGTERM as a polite request: lilift finishes the current work, saves it, and then stops.

A long job runs inside ``with polite_interrupts() as interruption``. It checks ``interruption.requested`` wherever it can stop
without losing anything. After it has saved, it raises ``interruption.stop("…")``. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from lilift.recipe.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, LiliftError
from lilift.recipe.terminal import is_terminal

_EXIT_CODES = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
_active: list[Interruption] = []  # the interruption that handles signals now, or empty
RESUME = "run the same command with --resume to continue"
AGAIN = "run the same command again to continue (`lilift recipe run`: with --resume)"
"""For what a recipe and other commands do."""
KEPT = "lilift keeps the last checkpoint and the answers so far"
"""What is left when one of several processes ends before the others."""
_SHOW_CURSOR = "\x1b[?25h"


class StoppedBySignal(LiliftError):
    """The user or the system asked lilift to stop, and lilift saved everything first."""

    def __init__(self, what: str, exit_code: int, remedy: str = RESUME) -> None:
        super().__init__(what, remedy=remedy)
        self.exit_code = exit_code


class Interruption:
    """Tells a long job whether the user or the system asked it to stop."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._answered = False

    @property
    def requested(self) -> bool:
        """True from the first signal on."""
        return self._signal is not None

    @property
    def number(self) -> int:
        """The number of the signal; 0 without one."""
        return 0 if self._signal is None else int(self._signal)

    def request(self, number: int) -> None:
        """Stop as if this process itself had received the signal; another process of the same run has."""
        if self._signal is None:
            self._signal = signal.Signals(number)

    def stop(self, what: str, remedy: str = RESUME) -> StoppedBySignal:
        """The error to raise after everything is saved. `what` says how far the job came, e.g. ``stopped after step 12``."""
        self._answered = True
        return StoppedBySignal(what, _EXIT_CODES[self._signal or signal.SIGINT], remedy)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is not None:
            leave_at_once(_EXIT_CODES[signal.Signals(number)])
        self._signal = signal.Signals(number)
        if _one_of_several(number):
            return
        # os.write, because the interrupted code may be in the middle of printing.
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping: lilift finishes and saves the current work first; press Ctrl-C again to stop at once\n")


@contextlib.contextmanager
def polite_interrupts() -> Iterator[Interruption]:
    """Catch Ctrl-C and SIGTERM while the block runs, and restore the earlier handlers afterwards.

    A block inside another one shares its request, so a signal that came before the inner block began also reaches the inner
    block. If a request comes so late that the job does not see it, the block itself stops at its end. Only the main thread
    receives signals. In any other thread, the block changes no handlers.

    Raises:
        StoppedBySignal: a request came, and the job did not answer it with `stop`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()
        return
    if _active:
        interruption = _active[-1]
        yield interruption
    else:
        interruption = Interruption()
        with _handling(interruption):
            yield interruption
    if interruption.requested and not interruption._answered:
        raise interruption.stop("stopped")


@contextlib.contextmanager
def _handling(interruption: Interruption) -> Iterator[None]:
    """Let `interruption` handle the signals while the block runs."""
    earlier = {number: signal.signal(number, interruption._handle) for number in _EXIT_CODES}
    _active.append(interruption)
    try:
        yield
    finally:
        _active.remove(interruption)
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM from now on, in a process that is about to end by itself."""
    if threading.current_thread() is threading.main_thread():
        for number in _EXIT_CODES:
            signal.signal(number, signal.SIG_IGN)


def _one_of_several(number: int) -> bool:
    """Whether torchrun started this process beside others, and another one of them or nobody has to announce the stop.

    torchrun sends SIGTERM to all that are left when one process has ended. Then there is nothing to finish.
    """
    several = os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
    return several and (number == signal.SIGTERM or os.environ["RANK"] != "0")


def leave_at_once(exit_code: int) -> None:
    """End the process without cleaning up. This is safe, because an unfinished file or folder never has its final name."""
    if is_terminal(sys.stdout):
        os.write(1, _SHOW_CURSOR.encode("ascii"))  # a live display may have hidden it
    os._exit(exit_code)
