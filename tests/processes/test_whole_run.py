"""A whole run in two processes: one of them is killed, the other ends too, and one process alone finishes the run."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lilift.cli.app import main
from lilift.recipe.interrupt import AGAIN
from lilift.recipe.storage import JsonLines
from tests.phases import small_run

MORE = ("align.max_steps=24", "align.log_every=1", "align.checkpoint_every=2")


@pytest.fixture
def kept_signals() -> object:
    """torchrun's launcher leaves its own handlers behind."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def kill_one_at(metrics: Path, rank: str, killed: list[float]) -> None:
    """Kill a process once three steps are done. The checkpoint of the second one is complete then."""
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 3:
        time.sleep(0.02)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if child.environ().get("RANK") == rank:
                killed.append(time.monotonic())
                child.kill()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("kept_signals")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_process_ends_the_run_and_one_process_finishes_it(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = small_run.arguments(folder, "--until", "align", small=(*small_run.SMALL, *MORE))
    monkeypatch.setattr(sys, "argv", ["lilift", *command, "--processes", "2"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    killed: list[float] = []
    threading.Thread(target=kill_one_at, args=(folder / "align" / "metrics.jsonl", rank, killed), daemon=True).start()
    assert main(sys.argv[1:]) == 6
    assert time.monotonic() - killed[0] < 30
    shown = capfd.readouterr()
    assert "2 processes train and evaluate together" in shown.out
    assert re.fullmatch(
        rf"lilift: process {rank} \(pid \d+\) was killed by signal 9, so lilift ended the others; lilift keeps the last "
        rf"checkpoint and the answers so far; {re.escape(AGAIN)}\n",
        shown.err,
    )
    assert not (folder / "align" / "done.json").exists()
    assert main([*command, "--resume"]) == 0
    assert "continuing after step" in capfd.readouterr().out
    assert [line["step"] for line in JsonLines(folder / "align" / "metrics.jsonl").read()] == list(range(1, 25))
    assert sorted(path.name for path in (folder / "align").iterdir()) == [
        "alignment", "done.json", "inputs.json", "metrics.jsonl", "rows.json"
    ]  # fmt: skip
