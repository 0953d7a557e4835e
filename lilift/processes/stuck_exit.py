"""Ends a process that was asked to stop and cannot, because it waits inside a library for another process.

Python's own signal handlers run only between two instructions. A process that waits for a GPU, or for a message of a process
that is gone, never comes there. A thread reads the signals' numbers from a pipe instead, which Python fills at once.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

from lilift.recipe.errors import EXIT_TERMINATED

GRACE_SECONDS = 25.0
"""torchrun itself kills a process 30 seconds after it asked it to stop."""


def leave_when_stuck(grace_seconds: float = GRACE_SECONDS) -> None:
    """Let this process end at the latest so many seconds after a SIGTERM or Ctrl-C that a handler of Python's received.

    Call it once, from the main thread.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        _ = writer  # the socket stays open as long as the thread
        while number := reader.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                time.sleep(grace_seconds)
                os._exit(EXIT_TERMINATED)

    threading.Thread(target=watch, daemon=True, name="leave-when-stuck").start()
