"""Copies of a stage's metrics in other programs: complete, once, and no fault there costs a bit of the training."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lilift.recipe.load import dump_recipe, load_recipe
from lilift.recipe.schema import Recipe
from lilift.recipe.storage import JsonLines
from lilift.train.stages import stage_fingerprint
from lilift.train.tracking.sinks import tracker_for
from lilift.train.tracking.tracker import TRACKED, figures_of
from lilift.train.training_progress import NoProgress
from tests.train import tiny_run

FIGURES = {"loss", "learning_rate", "grad_norm", "epoch", "tokens", "tokens_per_second", "memory_mib"}
WATCH = {
    "step": 4,
    "accuracy": 0.5,
    "right": 2,
    "languages": {"om": {"right": 2, "questions": 2}, "fj": {"right": 0, "questions": 2}},
}


class Notes(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        if "track:" in text:  # a busy machine gets a note, too
            self.lines.append(text)


class FakeTrackio(ModuleType):
    """Takes figures as trackio does; fails at the call with the number `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__("trackio")
        self.fails_at, self.calls, self.finished = fails_at, 0, 0
        self.names: list[str] = []
        self.logged: list[tuple[int, Mapping[str, float]]] = []

    def init(self, project: str, *, name: str, **others: Any) -> FakeTrackio:
        assert (project, others["resume"], others["embed"]) == ("lilift", "allow", False)
        print("trackio greets")  # on standard output, which may hold JSON
        self.names.append(name)
        return self

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ConnectionError("no route to host\nand a long story")
        self.logged.append((step, figures))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    found = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", found)
    return found


def tracking(recipe: Recipe, program: str) -> Recipe:
    return recipe.model_copy(update={"track": program})


def weights(models: Path, folder: Path, program: str | None, notes: Notes) -> dict[str, torch.Tensor]:
    recipe = tiny_run.make_recipe(models, "align.max_steps=6")
    bridge, _ = tiny_run.train(recipe if program is None else tracking(recipe, program), folder, "align", notes)
    return {name: one for name, one in bridge.named_parameters() if one.requires_grad}


@pytest.fixture(scope="module")
def untracked(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return weights(models, tmp_path_factory.mktemp("untracked"), None, Notes())


def test_every_line_of_metrics_is_copied_and_training_is_the_same_to_the_bit(
    models: Path, tmp_path: Path, fake: FakeTrackio, untracked: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    notes = Notes()
    trained = weights(models, tmp_path / "run" / "align", "trackio", notes)
    assert all(torch.equal(trained[name], one) for name, one in untracked.items())
    lines = JsonLines(tmp_path / "run" / "align" / "metrics.jsonl").read()
    assert [step for step, _ in fake.logged] == [line["step"] for line in lines] == [2, 4, 6]
    assert [figures["loss"] for _, figures in fake.logged] == [line["loss"] for line in lines]
    assert set(fake.logged[0][1]) == FIGURES
    assert (fake.finished, notes.lines) == (1, [])
    assert fake.names[0].startswith("run-align-")
    assert "greets" not in capsys.readouterr().out


def test_a_fault_is_one_line_and_the_next_process_copies_what_is_missing(
    models: Path, tmp_path: Path, fake: FakeTrackio, untracked: dict[str, torch.Tensor]
) -> None:
    fake.fails_at = 2
    notes = Notes()
    folder = tmp_path / "run" / "align"
    trained = weights(models, folder, "trackio", notes)
    assert all(torch.equal(trained[name], one) for name, one in untracked.items())
    assert [step for step, _ in fake.logged] == [2]
    [line] = notes.lines
    assert line.startswith("  track: trackio failed (no route to host); training continues without it")
    # What `train_stage` does when it resumes: it rewrites the lines that it keeps.
    again = tracker_for(tracking(tiny_run.make_recipe(models), "trackio"), folder, notes.note)
    assert again is not None
    file = again.lines(folder / "metrics.jsonl")
    file.rewrite(file.read())
    again.lines(folder / "during.jsonl").append(WATCH)
    again.close()
    assert [step for step, _ in fake.logged] == [2, 4, 6, 4]
    assert fake.logged[-1][1] == {"foreign_accuracy": 0.5, "foreign_accuracy/om": 1.0, "foreign_accuracy/fj": 0.0}
    assert len(set(fake.names)) == 1  # the same curves go on
    (folder / TRACKED).unlink()  # as --restart-from does: new curves
    anew = tracker_for(tracking(tiny_run.make_recipe(models), "trackio"), folder, notes.note)
    assert anew is not None
    file = anew.lines(folder / "metrics.jsonl")
    file.rewrite(file.read())
    assert len(fake.logged) == 7
    assert len(set(fake.names)) == 2


@pytest.mark.parametrize("program", ["tensorboard", "trackio", "wandb"])
def test_a_missing_package_is_one_line_that_says_how_to_install_it(
    program: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, program, None)  # Python then refuses to import it
    notes: list[str] = []
    found = tracker_for(tracking(tiny_run.make_recipe(models), program), tmp_path / "run" / "align", notes.append)
    assert found is not None
    file = found.lines(tmp_path / "run" / "align" / "metrics.jsonl")
    file.rewrite([])
    file.append({"step": 1, "loss": 2.0})
    found.close()
    [line] = notes
    assert f"track: {program} failed (it is not installed: pip install 'lilift[{program}]')" in line
    assert file.read() == [{"step": 1, "loss": 2.0}]


def test_the_setting_changes_neither_other_recipes_nor_what_a_stage_depends_on() -> None:
    plain, tracked = load_recipe("tiny-cpu"), load_recipe("tiny-cpu", ["track=tensorboard"])
    assert "track" not in dump_recipe(plain)
    assert dump_recipe(load_recipe("tiny-cpu", ["track=none"])) == dump_recipe(plain)
    assert "track: tensorboard" in dump_recipe(tracked)
    assert stage_fingerprint(plain, "align") == stage_fingerprint(tracked, "align")


def write_lines(program: str, folder: Path, *, first: int, last: int) -> None:
    """What a process of a run does: it keeps the lines so far, adds some, and ends."""
    notes: list[str] = []
    found = tracker_for(load_recipe("tiny-cpu", [f"track={program}"]), folder, notes.append)
    assert found is not None
    file = found.lines(folder / "metrics.jsonl")
    file.rewrite(line for line in file.read() if line["step"] < first)
    for step in range(first, last + 1):
        file.append({"step": step, "loss": 1 / step, "memory_mib": 100.0})
    found.close()
    assert notes == []


def test_tensorboard_itself_shows_each_step_once_after_a_resumed_run(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="lilift[tensorboard]")
    folder = tmp_path / "run" / "align"
    write_lines("tensorboard", folder, first=1, last=4)
    write_lines("tensorboard", folder, first=3, last=6)  # steps 3 and 4 again, from a checkpoint
    found = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard" / "align"), size_guidance={"scalars": 0})
    found.Reload()
    shown = [(event.step, round(event.value, 5)) for event in found.Scalars("loss")]
    assert shown == [(step, round(1 / step, 5)) for step in range(1, 7)]
    (folder / TRACKED).unlink()  # as --restart-from does
    (folder / "metrics.jsonl").unlink()
    write_lines("tensorboard", folder, first=1, last=2)
    found = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard" / "align"), size_guidance={"scalars": 0})
    found.Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2]


def test_trackio_itself_continues_the_same_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    storage = pytest.importorskip("trackio.sqlite_storage", reason="lilift[trackio]").SQLiteStorage
    folder = tmp_path / "run" / "align"
    write_lines("trackio", folder, first=1, last=4)
    write_lines("trackio", folder, first=3, last=6)
    [name] = storage.get_runs("lilift")
    logged = storage.get_logs("lilift", name)
    assert [(one["step"], one["loss"]) for one in logged] == [(step, 1 / step) for step in range(1, 7)]


def test_weights_and_biases_itself_writes_files_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="lilift[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_lines("wandb", tmp_path / "run" / "align", first=1, last=4)
    [written] = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert written.stat().st_size > 500


def test_figures_hold_no_text() -> None:
    line = {"step": 2, "loss": 0.5, "seconds": 3.0} | WATCH | {"samples": [{"question": "?", "response": "5"}]}
    assert set(figures_of(line)) == {"loss", "foreign_accuracy", "foreign_accuracy/om", "foreign_accuracy/fj"}
