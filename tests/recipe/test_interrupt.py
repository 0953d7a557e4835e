"""Ctrl-C and SIGTERM: the first one saves, the second one ends the program at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lilift.recipe.interrupt import StoppedBySignal, polite_interrupts

JOB = """
import sys, time
from pathlib import Path
from lilift.recipe.errors import LiliftError
from lilift.recipe.interrupt import polite_interrupts

try:
    with polite_interrupts() as interruption:
        print("ready", flush=True)
        while not interruption.requested:
            time.sleep(0.01)
        print("saving", flush=True)
        time.sleep(float(sys.argv[1]))
        Path(sys.argv[2]).write_text("saved", encoding="utf-8")
        raise interruption.stop("stopped after step 12")
except LiliftError as error:
    print(error.line(), flush=True)
    sys.exit(error.exit_code)
"""


def start_job(seconds: float, saved: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(seconds), str(saved)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_the_job_save(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    process = start_job(0.0, tmp_path / "saved")
    assert read_line(process) == "ready"
    process.send_signal(number)
    assert read_line(process) == "saving"
    assert read_line(process) == "stopped after step 12; run the same command with --resume to continue"
    assert process.wait(timeout=20) == exit_code
    assert (tmp_path / "saved").exists()


def test_the_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = start_job(60.0, tmp_path / "saved")
    assert read_line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert read_line(process) == "saving"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert not (tmp_path / "saved").exists()


def test_a_request_in_the_last_moment_is_honoured() -> None:
    with pytest.raises(StoppedBySignal) as raised, polite_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
    assert raised.value.exit_code == 143


def test_another_error_is_not_hidden_by_the_request() -> None:
    with pytest.raises(ValueError, match="a bug"), polite_interrupts():
        raise ValueError("a bug" if os.kill(os.getpid(), signal.SIGTERM) is None else "")


def test_earlier_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with polite_interrupts():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_another_thread_it_runs_without_handlers() -> None:
    seen: list[bool] = []

    def work() -> None:
        with polite_interrupts() as interruption:
            seen.append(interruption.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_request_from_before_an_inner_block_reaches_it() -> None:
    def work() -> None:
        with polite_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            with polite_interrupts() as inner:
                raise inner.stop("saved") if inner.requested else AssertionError("the request was lost")

    with pytest.raises(StoppedBySignal, match="saved") as raised:
        work()
    assert raised.value.exit_code == 143


def test_a_request_inside_an_inner_block_ends_the_outer_one_too() -> None:
    reached = []

    def work() -> None:
        with polite_interrupts():
            with polite_interrupts():
                os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the inner block")

    with pytest.raises(StoppedBySignal):
        work()
    assert reached == []
    with polite_interrupts() as fresh:
        assert not fresh.requested
