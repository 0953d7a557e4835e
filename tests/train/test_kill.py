"""A process that is killed at any moment and started again ends with the same bits as one that was left alone."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from lilift.recipe.sealed_folders import verify_sealed_folder
from tests.train import tiny_run
from tests.train.test_loop import Recorder, metrics

SETTINGS = ("transfer.max_steps=20", "transfer.checkpoint_every=2", "transfer.log_every=3", "transfer.keep_checkpoints=1")


class Undisturbed:
    """A run that was left alone: what it ended with, how often it flushed to the disk, and how long it took."""

    def __init__(self, models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flush = os.fsync
        self.flushes = 0

        def counting(descriptor: int) -> None:
            self.flushes += 1
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", counting)
        began = time.monotonic()
        tiny_run.train(tiny_run.make_recipe(models, *SETTINGS), folder, "transfer", Recorder())
        self.seconds = time.monotonic() - began
        monkeypatch.undo()
        self.folder = folder

    def assert_same(self, folder: Path) -> None:
        verify_sealed_folder(folder / "adapter")
        name = Path("adapter") / "adapter_model.safetensors"
        assert (folder / name).read_bytes() == (self.folder / name).read_bytes()
        assert metrics(folder) == metrics(self.folder)
        assert sorted(path.name for path in folder.iterdir()) == ["adapter", "metrics.jsonl"]


@pytest.fixture
def undisturbed(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Undisturbed:
    return Undisturbed(models, tmp_path / "undisturbed", monkeypatch)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Starts processes that have everything imported already."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.tiny_run"])
    return context


def test_killed_at_any_moment_and_resumed(
    models: Path, tmp_path: Path, undisturbed: Undisturbed, processes: ForkServerContext
) -> None:
    chance = random.Random()
    # Half written: the process kills itself in the middle of writing metrics, a checkpoint or, in the end, the result.
    places = [*chance.sample(range(1, undisturbed.flushes - 8), 3), undisturbed.flushes - chance.randint(0, 7)]
    moments = [chance.uniform(0.1, 1.0) * undisturbed.seconds for _ in range(2)]
    print("killed at", places, moments)
    for number, (place, moment) in enumerate([*((place, None) for place in places), *((None, moment) for moment in moments)]):
        folder = tmp_path / str(number)
        process = processes.Process(
            target=tiny_run.train_in_process, args=(models, folder, "transfer", SETTINGS, place), daemon=True
        )
        process.start()
        process.join(timeout=moment)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL or place is None
        tiny_run.train(tiny_run.make_recipe(models, *SETTINGS), folder, "transfer", Recorder())
        undisturbed.assert_same(folder)


def test_killed_and_started_again_as_a_whole_new_process(models: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.train.tiny_run", str(models), str(folder), "transfer", *SETTINGS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        next(line for line in lines if "step 11/20" in line)
        process.kill()
    progress = Recorder()
    tiny_run.train(tiny_run.make_recipe(models, *SETTINGS), folder, "transfer", progress)
    assert progress.began[0][2] >= 10
    undisturbed.assert_same(folder)
