"""Several processes compute what one does, agree on everything, and notice when one of them is gone."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lilift.evaluate.answering_cost import COST, read_costs
from lilift.processes.joined_processes import ALONE
from lilift.recipe.interrupt import AGAIN
from lilift.recipe.storage import read_json
from lilift.train.training_progress import Silence
from tests.processes import together, together_answers
from tests.train import tiny_run
from tests.train.test_loop import metrics

LONG = 300.0  # a loaded machine may take minutes; nothing here waits so long by itself
Run = Callable[[str, int], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_run.make_models(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def run(models: Path, folder: Path) -> Run:
    """Runs a scenario in some processes; returns what each found, nothing for one that was killed."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.processes.together"])

    def start(scenario: str, size: int) -> list[dict[str, Any]]:
        started = [
            context.Process(target=together.take_part, args=(scenario, rank, size, folder, models), daemon=True)
            for rank in range(size)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(LONG)
            process.kill()
        files = [folder / f"{scenario}-{size}-{rank}.json" for rank in range(size)]
        return [read_json(file) if file.exists() else {} for file in files]

    return start


@pytest.mark.parametrize("size", [2, 4])
def test_a_step_is_the_same_whatever_the_number_of_processes(run: Run, size: int) -> None:
    expected = together.step_of(None, together.STEP)
    found = run("steps", size)
    assert sum(one["plain"]["rows"] for one in found) == len(together.ROWS)
    assert found[0]["left"] == [], "the first process removes what it wrote to see whether the folder is shared"
    for one in found:
        for kind in ("plain", "split"):
            step = one[kind]
            assert step["loss"] == pytest.approx(expected["loss"], rel=1e-6)
            assert step["norm"] == pytest.approx(expected["norm"], rel=1e-6)
            assert step["tokens"] == expected["tokens"]
            for ours, theirs in zip(step["gradients"], expected["gradients"], strict=True):
                assert ours == (theirs if theirs is None else pytest.approx(theirs, rel=1e-5, abs=1e-9))
        assert one["plain"] == one["again"], "to the bit"
        assert one["plain"]["gradients"] == found[0]["plain"]["gradients"]
        assert one["plain"]["agreed"] == [15 * (size - 1), None]
        assert one["split"]["agreed"][1] == found[-1]["split"]["budget"] is not None
        assert one["finite"] is False
        assert one["one row"]["gradients"] == found[0]["one row"]["gradients"]
        assert one["one row"]["tokens"] == together.Packed(together.ROWS[:1]).tokens
        assert one["other weights"].startswith(
            f"here: process {size - 1} holds other weights than process 0; use the same model"
        )
        assert one["other recipe"].startswith(f"process {size - 1} was started with another recipe than process 0")
        assert one["other options"].startswith(f"process {size - 1} was started with another --until than process 0")


def test_a_stage_that_was_stopped_goes_on_with_any_number_of_processes(run: Run, models: Path, folder: Path) -> None:
    """Dropout is on in `transfer`. Only the second process gets the signal."""
    found = run("stages", 2)
    for one in found:
        assert one["alone"] == one["resumed"] == one["whole"] == ""
        assert one["stopped"].startswith("transfer stopped and saved after step 6 of 8; run the same command with --resume")
    weights = [folder / name / "adapter" / "adapter_model.safetensors" for name in ("undisturbed", "resumed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert metrics(folder / "undisturbed") == metrics(folder / "resumed")
    for name in ("begun", "single"):  # one process finishes what two began, and one does everything
        assert together.train(ALONE, models, folder / name, "align", Silence()) == ""
    layers = {name: next((folder / name / "alignment").glob("*.safetensors")) for name in ("whole", "begun", "single")}
    expected = load_file(layers["single"])
    for name in ("whole", "begun"):
        for key, weight in load_file(layers[name]).items():
            assert (weight - expected[key]).norm() <= 1e-3 * expected[key].norm(), (name, key)


def test_a_process_that_is_killed_ends_the_others_with_one_line(run: Run, folder: Path) -> None:
    first, _ = run("killed", 2)
    assert first["line"].startswith("process 1 (pid ")
    assert first["line"].endswith(f"has ended; lilift keeps the last checkpoint and the answers so far; {AGAIN}")
    assert [path.name for path in (folder / "killed" / "checkpoints").iterdir()] == ["step-00000003"]


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything but what an evaluation cost."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.name != COST)
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


@pytest.mark.parametrize("size", [2, 4])
def test_an_evaluation_is_the_same_to_the_byte_whatever_the_number_of_processes(run: Run, folder: Path, size: int) -> None:
    together_answers.answer(ALONE, folder / f"one-{size}", together_answers.Teller())
    found = run("answers", size)
    expected = files_of(folder / f"one-{size}")
    assert len(expected) == 3 + 5
    for one in found:
        assert one["alone"] == one["again"] == one["resumed"] == ""
        assert one["stopped"].startswith("stopped")
    assert 6 <= found[0]["kept"] < 81, "the answers of all processes before the signal"
    assert read_costs(folder / f"whole-{size}" / "lifted")["mmwp"].questions == 81
    for name in ("whole", "stopped"):
        assert files_of(folder / f"{name}-{size}") == expected
    assert found[-1]["others"].startswith(f"evaluate.benchmarks: process {size - 1} reads other questions than process 0")


def test_answers_of_a_killed_process_are_kept_and_one_process_finishes(run: Run, folder: Path) -> None:
    first, _ = run("killed answers", 2)
    assert first["line"].startswith("process 1 (pid ")
    assert " has ended; " in first["line"]
    kept = sum(path.read_bytes().count(b"\n") for path in (folder / "killed answers").rglob("*.jsonl"))
    assert kept == 41 + 12, "all of the first process, and three times four of the other"
    together_answers.answer(ALONE, folder / "killed answers", together_answers.Teller())
    together_answers.answer(ALONE, folder / "undisturbed answers", together_answers.Teller())
    assert files_of(folder / "killed answers") == files_of(folder / "undisturbed answers")


def test_a_process_that_does_not_come_is_named(run: Run) -> None:
    first, _ = run("stuck", 2)
    assert first["line"].startswith("process 1 (pid ")
    assert "has not answered for 0 seconds" in first["line"] or "has not answered for 1 seconds" in first["line"]
