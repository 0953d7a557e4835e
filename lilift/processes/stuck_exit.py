"""Ends a process that cannot end by itself: it waits inside a library for another process, or the one that started it is gone.

Python's own signal handlers run only between two instructions. A process that waits for a GPU, or for a message of a process
that is gone, never comes there. A thread reads the signals' numbers from a pipe instead, which Python fills at once.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

from lilift.recipe.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, TrainingError, print_error
from lilift.recipe.interrupt import AGAIN, KEPT, leave_at_once

GRACE_SECONDS = 25.0
"""torchrun itself kills a process 30 seconds after it asked it to stop."""
_SECONDS_BETWEEN_LOOKS = 1.0
_leaving = threading.Lock()  # taken once and for all by the thread that ends this process


def leave_when_stuck(grace_seconds: float = GRACE_SECONDS, *, speaks: bool = False) -> None:
    """Let this process end at the latest so many seconds after a SIGTERM or Ctrl-C that a handler of Python's received.

    Call it once, from the main thread.

    Args:
        grace_seconds: for saving.
        speaks: whether this process then says why the run ends.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        _ = writer  # the socket stays open as long as the thread
        while number := reader.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                time.sleep(grace_seconds)
                _leaving.acquire()
                if speaks:
                    what = f"stopped without saving again, because that would take more than {grace_seconds:.0f} seconds"
                    print_error(str(TrainingError(f"{what}; {KEPT}", remedy=AGAIN)))
                leave_at_once(EXIT_INTERRUPTED if number[0] == signal.SIGINT else EXIT_TERMINATED)

    threading.Thread(target=watch, daemon=True, name="leave-when-stuck").start()


class Starter:
    """The process that started this one: torchrun's, or that of `lilift recipe run --processes`.

    It keeps the store through which all processes find each other. If it is killed, nobody ends them, and a process that needs
    no other one would go on for hours.

    Args:
        speaks: whether this process says why all of its machine end.
    """

    def __init__(self, *, speaks: bool) -> None:
        self._pid, self._speaks = os.getppid(), speaks

    def watch(self) -> None:
        """End this process soon after its starter, from a thread."""

        def look() -> None:
            while True:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                self.leave_if_gone()

        threading.Thread(target=look, daemon=True, name="watch-starter").start()

    def leave_if_gone(self) -> None:
        """End this process if its starter has ended. Unfinished files and folders never have their final names."""
        if os.getppid() == self._pid:
            return
        _leaving.acquire()
        if self._speaks:
            what = f"the process that started this run (pid {self._pid}) has ended, so lilift ended all others"
            print_error(str(TrainingError(f"{what}; {KEPT}", remedy=AGAIN)))
        leave_at_once(TrainingError.exit_code)
