"""Starting several processes: what torchrun says, which commands it may start, and what the command line becomes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lilift.cli import recipe
from lilift.cli.app import main
from lilift.cli.command_lines import without_processes
from lilift.processes import torchrun_environment
from lilift.processes.torchrun_environment import Started, started_by_torchrun
from lilift.recipe.interrupt import AGAIN
from lilift.recipe.storage import write_json


@pytest.fixture
def as_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of two that torchrun started on this machine."""
    place = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in (place | {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torchrun_environment, "FIRST_SPEAKS_SECONDS", 0.0)


@pytest.mark.usefixtures("as_second")
def test_the_place_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_by_torchrun() == Started(1, 2, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert started_by_torchrun() is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_PORT")
    assert started_by_torchrun() is None


@pytest.mark.usefixtures("as_second")
def test_other_verbs_work_in_one_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    waited: list[float] = []
    monkeypatch.setattr(torchrun_environment.time, "sleep", waited.append)
    line = (
        "lilift: torchrun can start only `recipe run` and `eval`, because every other command works in one process; run this "
        "command without torchrun\n"
    )
    assert main(["recipe", "list"]) == 2
    assert waited == [0.0], "torchrun ends it meanwhile, if the first one has the error too"
    assert capfd.readouterr().err == line
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(["recipe", "list"]) == 2
    assert len(waited) == 1
    assert capfd.readouterr().err == line


@pytest.mark.usefixtures("as_second")
def test_one_process_says_that_ctrl_c_came(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "run_run", interrupted)
    assert main(["recipe", "run", "tiny-cpu"]) == 130
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert main(["recipe", "run", "tiny-cpu"]) == 130
    assert capfd.readouterr().err == "lilift: interrupted\n"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--processes", "0"], "lilift: --processes: a run needs at least one process, not 0\n"),
        (
            ["--processes", "2", "--set", "llm.backend=unsloth", "--set", "evaluate.during=null"],
            "lilift: llm.backend: unsloth trains in one process; set llm.backend=transformers, or use one process\n",
        ),
    ],
)
def test_starts_that_cannot_work(more: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "run", "tiny-cpu", *more]) == 2
    assert capfd.readouterr().err == line


def test_plans_that_cannot_be_meant(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "plan", "tiny-cpu", "--gpus", "0"]) == 2
    assert capfd.readouterr() == ("", "lilift: --processes: a run needs at least one process, not 0\n")
    assert main(["recipe", "plan", "tiny-cpu", "--instant", "--processes", "2"]) == 2
    assert capfd.readouterr().err == (
        "lilift: --instant plans one process, and --processes needs the whole plan; leave out one of them\n"
    )


def test_evaluations_that_cannot_be_shared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def line(*more: str) -> str:
        assert main(["eval", str(tmp_path), "--benchmark", "world", *more]) == 2
        return capfd.readouterr().err

    assert line("--shard", "17/16") == (
        "lilift: --shard 17/16 names no share; give the number of the job and the number of jobs, from 1/16 to 16/16 for "
        "sixteen\n"
    )
    assert line("--processes", "-1") == "lilift: --processes: a run needs at least one process, not -1\n"
    write_json(tmp_path / "lilift.json", {"llm": {"files": {}}})
    assert line("--processes", "2") == (
        "lilift: several processes do not run the GGUF files of an export, because llama.cpp uses all cores in one; leave "
        "--processes out, or share the questions among machines with --shard\n"
    )


@pytest.mark.usefixtures("as_second")
def test_processes_do_not_start_processes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "run", "tiny-cpu", "--processes", "2"]) == 2
    assert capfd.readouterr().err == "lilift: torchrun has already started several processes; leave --processes out\n"


def test_the_command_line_of_each_process() -> None:
    whole = ["recipe", "run", "a", "--resume"]
    for given in (["--processes", "2"], ["--processes=2"], ["--gpus", "2"], ["--proc=2"], ["--g", "2"]):
        assert without_processes(["recipe", "run", *given, "a", "--resume"]) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="a mutex of zeros is Linux's")
def test_a_process_that_cannot_stop_ends_after_a_while() -> None:
    """Its own handler of the signal never runs, because it waits inside a library."""
    script = """
import os, signal, threading
from lilift.processes.stuck_exit import leave_when_stuck
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
leave_when_stuck(0.2, speaks=True)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
import ctypes
library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)  # zeros: a mutex that nobody holds
library.pthread_mutex_lock(mutex)
library.pthread_mutex_lock(mutex)  # waits forever, and no signal ends the wait
"""
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 143
    assert done.stderr.startswith(
        "lilift: stopped without saving again, because that would take more than 0 seconds; lilift keeps"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there, the number of a process that is gone stays")
def test_a_process_ends_soon_after_the_one_that_started_it() -> None:
    """Nobody is left that would end it, and the store of all is gone."""
    watching = """
import time
from lilift.processes import stuck_exit
stuck_exit._SECONDS_BETWEEN_LOOKS = 0.05
stuck_exit.Starter(speaks=True).watch()
print("watching", flush=True)
time.sleep(60)
"""
    starting = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {watching!r}], stdout=subprocess.PIPE)
child.stdout.readline()
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", starting], stderr=subprocess.PIPE, text=True, timeout=50, check=False)
    assert re.fullmatch(
        r"lilift: the process that started this run \(pid \d+\) has ended, so lilift ended all others; lilift keeps the last "
        rf"checkpoint and the answers so far; {re.escape(AGAIN)}\n",
        done.stderr,
    )
