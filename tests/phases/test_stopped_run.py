"""Runs that stop before their end: by a signal, on request, or because of bad input; and how they continue."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lilift.cli import app
from lilift.phases.run import FinishedRun
from lilift.train.step import StepOutcome
from tests.phases.small_run import answers, arguments, metrics, weights


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lilift", *arguments(folder, *more)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    assert answers(one) == answers(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    scores = [json.loads((run / "evaluate" / "scores.json").read_text()) for run in (one, other)]
    assert scores[0] == scores[1]


def kill_in(folder: Path, phase: str, delay: float) -> None:
    """Run until `phase` has begun, wait a little, and kill."""
    process = start(folder, "--resume")
    for line in lines_of(process):
        if line.startswith(f"{phase}:") and "already done" not in line:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "phases", [("align", "evaluate"), pytest.param(("data", "align", "transfer", "evaluate"), marks=pytest.mark.long)]
)
def test_killed_at_random_moments_of_its_phases_a_resumed_run_ends_the_same(
    finished_run: FinishedRun, tmp_path: Path, phases: tuple[str, ...]
) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(20)
    for phase in phases:
        kill_in(folder, phase, moments.uniform(0.0, 2.0))
    process = start(folder, "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert_same_run(finished_run.path, folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop_a_run_saves_first_and_goes_on_the_same(
    finished_run: FinishedRun, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "stopped"
    process = start(folder)
    for line in lines_of(process):
        if line.startswith("align: step"):
            process.send_signal(number)
            break
    _, errors = process.communicate()
    assert process.returncode == code
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert list(folder.glob("align/checkpoints/step-*")) or (folder / "align" / "alignment").exists()
    process = start(folder, "--resume", "--until", "align")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    one, other = (weights(run) for run in (folder, finished_run.path))
    assert one
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics(folder)["align/metrics.jsonl"] == metrics(finished_run.path)["align/metrics.jsonl"]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepOutcome, "finite", property(lambda _: False))
    code, line = refused(capsys, *arguments(tmp_path / "run", "--json", "--until", "align"))
    assert code == 6
    assert "align.learning_rate" in line


def test_a_full_disk_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    """The process may write files of at most 100 kB: the first checkpoint does not fit."""
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from lilift.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, *arguments(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 8, done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert "Traceback" not in done.stderr
    process = start(tmp_path / "run", "--resume", "--until", "align")
    assert process.wait() == 0


def test_until_stops_after_a_phase_and_resume_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.main(arguments(tmp_path / "run", "--until", "data")) == 0
    assert (tmp_path / "run" / "data" / "done.json").exists()
    assert not (tmp_path / "run" / "align").exists()
    capsys.readouterr()
    code, line = refused(capsys, *arguments(tmp_path / "run"))
    assert code == 5
    assert "--resume" in line


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str]:
    """Exit code and the one line of a refusal."""
    code = app.main(given)
    err = capsys.readouterr().err.strip()
    assert err.count("\n") == 0, err
    assert "Traceback" not in err
    return code, err


def test_a_damaged_result_is_named_with_its_remedy(
    finished_run: FinishedRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "damaged"
    shutil.copytree(finished_run.path, run)
    path = run / "transfer" / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for command in (["chat", str(run), "How many?"], ["export", str(run), "--output", str(tmp_path / "out")]):
        code, line = refused(capsys, *command)
        assert code == 5
        assert "adapter" in line
        assert "changed since it was written" in line
    assert not (tmp_path / "out" / "hf").exists()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("data.instructions.source=./nowhere.jsonl", 3, "nowhere.jsonl"),
        ("languages=[om, xx]", 2, "unknown language 'xx'"),
        ("data.lexicons={om: ./latin.tsv, fj: world}", 3, "latin.tsv"),
        ("data.lexicons={om: ./foreign.tsv, fj: world}", 3, "none of the words"),
        ("data.instructions.source=./empty.jsonl", 3, "empty.jsonl"),
        ("data.instructions.source=./columns.jsonl", 3, "data.instructions.columns"),
        ("data.max_tokens=16", 3, "data.max_tokens"),
        ("transfer.lora.target_modules=[no_such_layer]", 2, "transfer.lora.target_modules"),
        ("encoder.model=./nowhere", 4, "no such model folder"),
    ],
)
def test_bad_input_is_one_line_naming_place_and_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.tsv").write_bytes("water\tagua\nyear\ta\xf1o\n".encode("latin-1"))
    Path("foreign.tsv").write_text("zzyzx\tfoo\n", encoding="utf-8")
    Path("empty.jsonl").write_text("", encoding="utf-8")
    Path("columns.jsonl").write_text('{"alpha": "1", "beta": "2"}\n', encoding="utf-8")
    given = arguments(tmp_path / "run", "--set", change, "--set", "align.max_steps=1", "--set", "transfer.max_steps=1")
    found, line = refused(capsys, *given)
    assert found == code, line
    assert words in line
