"""Run several builds of lilift in processes of their own: they load together, and measure one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.shared.result_files import commit_of

READY = ".ready"
LIMITS = {"cuda": 55.0, "cpu": 540.0}  # seconds of all builds together
NEWS = 5.0  # seconds between two signs of life


def measure_builds(script: Path, checkouts: dict[str, Path], device: str) -> dict[str, dict[str, Any]]:
    """Let every build load in a process of its own, then measure one after the other.

    Args:
        script: takes ``--build NAME --device DEVICE --output FILE``. Once it has loaded, it touches FILE with the suffix
            `READY`, and waits for a line on its standard input. It ends when it has measured.
        checkouts: of lilift, by the names of the builds.
        device: ``cuda`` or ``cpu``.

    Returns:
        What each build has written, and under ``failed`` why it has not finished.
    """
    ends = time.monotonic() + LIMITS[device]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        outputs = {build: Path(folder) / f"{build}.json" for build in checkouts}
        try:
            for build, checkout in checkouts.items():
                print(f"{build}: {checkout.name}, {commit_of(checkout)}", flush=True)
                processes[build] = start(script, build, checkout, device, outputs[build])
            wait(
                ends,
                "loading",
                lambda: [
                    name
                    for name, process in processes.items()
                    if process.poll() is None and not outputs[name].with_suffix(READY).exists()
                ],
            )
            for build, process in processes.items():
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin is not None
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                wait(ends, "measuring", lambda process=process, build=build: [build] if process.poll() is None else [])
                found[build] = json.loads(outputs[build].read_text(encoding="utf-8")) if outputs[build].exists() else {}
                if process.poll() != 0:
                    found[build]["failed"] = "ran out of time" if process.poll() is None else f"exit code {process.poll()}"
                    process.kill()
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.kill()
                process.wait()
    return found


def wait(ends: float, what: str, unfinished: Callable[[], list[str]]) -> None:
    """Wait until no build is unfinished or the time is over, and say every few seconds which are."""
    said = time.monotonic()
    while (names := unfinished()) and time.monotonic() < ends:
        time.sleep(0.05)
        if time.monotonic() - said > NEWS:
            said = time.monotonic()
            print(f"  {what}: {', '.join(names)}", flush=True)


def start(script: Path, build: str, checkout: Path, device: str, output: Path) -> subprocess.Popen[bytes]:
    """Start the process of one build, with the lilift of a checkout."""
    # The checkout's own `benchmarks` come first, so that its models are built as it builds them.
    paths = [str(checkout), str(checkout / "kernels"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if device == "cpu":
        environment["OMP_NUM_THREADS"] = "1"  # threads of several processes would wait for each other
    command = [sys.executable, str(script), "--build", build, "--device", device, "--output", str(output)]
    return subprocess.Popen(command, env=environment, cwd=checkout, stdin=subprocess.PIPE)
