"""Prints what a benchmark on a lent card does, with the seconds since its start, and a sign of life in long silences."""

from __future__ import annotations

import threading
import time
from types import TracebackType

SILENCE = 8.0  # seconds


class ProgressLines:
    """Context manager that prints lines at once, and after every `SILENCE` without one says what is still being done."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._doing = "starting"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress-lines")

    def __enter__(self) -> ProgressLines:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def say(self, line: str) -> None:
        """Print a line; the next sign of life names it."""
        self._last, self._doing = time.monotonic(), line
        print(f"{self.seconds:6.1f} s  {line}", flush=True)

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            if time.monotonic() - self._last > SILENCE:
                self._last = time.monotonic()
                print(f"{self.seconds:6.1f} s  … still: {self._doing}", flush=True)
