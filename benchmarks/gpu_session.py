"""The time that a run of `make gpu` has left, and the commands that it runs in that time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [str(ROOT), str(ROOT / "kernels")]
TIMED_OUT = 124
GRACE = 10  # seconds for an interrupted command to write its results
SIGN_OF_LIFE = 10  # seconds between two lines that say how long a command has run


class Session:
    """The time that is left, and the environment of every command."""

    def __init__(self, device: str, seconds: float, folder: Path) -> None:
        self.device, self.folder = device, folder
        self.ends = time.monotonic() + seconds
        self.site = folder / "site"
        paths = [*SOURCES, str(self.site), os.environ.get("PYTHONPATH", "")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "HF_HUB_OFFLINE": "1"}

    @property
    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())

    def run(self, command: list[str], *, limit: float, **environment: str) -> int:
        """Run a command, return its exit code. At the limit interrupt it, and soon after kill it and its child processes."""
        print(f"\n$ {' '.join(command)}", flush=True)
        process = subprocess.Popen(command, env={**self.environment, **environment}, cwd=ROOT, start_new_session=True)
        started = time.monotonic()
        try:
            while (left := started + limit - time.monotonic()) > 0:
                try:
                    return process.wait(timeout=min(left, SIGN_OF_LIFE))
                except subprocess.TimeoutExpired:
                    print(f"({time.monotonic() - started:.0f} s of {limit:.0f})", flush=True)
            print(f"interrupted after {limit:.0f} s", flush=True)
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE)
            with suppress(ProcessLookupError):  # the whole group has ended
                os.killpg(process.pid, signal.SIGKILL)
            return TIMED_OUT
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
