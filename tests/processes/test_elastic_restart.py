"""A machine that is lost and comes back: torchrun starts the run again, and it continues from the last checkpoint."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lilift.recipe.storage import JsonLines
from tests.phases import small_run

MORE = ("align.max_steps=24", "align.log_every=1", "align.checkpoint_every=2")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]


def start_agent(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The torchrun of one machine, with one process. The first one started keeps the store of both."""
    torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "lilift"]
    command = small_run.arguments(folder, "--until", "align", "--resume", small=(*small_run.SMALL, *MORE))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    # Otherwise torch 2.13's agents that stay never tell one that comes back where to connect.
    environment |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen([sys.executable, *torchrun, "--local-addr", "localhost", "-m", "lilift", *command], env=environment)


def lose(agent: subprocess.Popen[bytes]) -> None:
    """Kill the agent and its process, as a power cut would."""
    for process in (psutil.Process(agent.pid), *psutil.Process(agent.pid).children(recursive=True)):
        with suppress(psutil.Error):
            process.kill()
    agent.wait()


def wait_for_steps(metrics: Path, steps: int, agents: list[subprocess.Popen[bytes]]) -> None:
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < steps:
        assert all(agent.poll() is None for agent in agents), "an agent has ended too early"
        time.sleep(0.05)


def test_a_machine_that_is_lost_and_comes_back(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "run"
    metrics = folder / "align" / "metrics.jsonl"
    first = start_agent(folder, port)
    while socket.socket().connect_ex(("localhost", port)):  # the agent that comes first keeps the store
        assert first.poll() is None
        time.sleep(0.1)
    second = start_agent(folder, port)
    try:
        wait_for_steps(metrics, 3, [first, second])
        lose(second)
        kept = JsonLines(metrics).read()
        assert len(kept) < 24
        second = start_agent(folder, port)
        assert [first.wait(900), second.wait(60)] == [0, 0]
    finally:
        for agent in (first, second):
            if agent.poll() is None:
                agent.send_signal(signal.SIGTERM)
                agent.wait(60)
    lines = JsonLines(metrics).read()
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert [line["loss"] for line in lines[:2]] == [line["loss"] for line in kept[:2]], "it did not begin again"
    assert (folder / "align" / "done.json").exists()
