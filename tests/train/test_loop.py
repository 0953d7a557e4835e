"""The training loop: resuming to the bit, signals, and losses that are no numbers."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lilift.data.batches.batching import Batch
from lilift.data.texts.examples import Row
from lilift.model.bridge import BridgedModel
from lilift.recipe.errors import DataError, RunFolderError, StorageError, TrainingError
from lilift.recipe.interrupt import StoppedBySignal
from lilift.recipe.storage import JsonLines
from lilift.train.checkpoint import CheckpointStore
from lilift.train.training_progress import StepReport
from tests.train import tiny_run

EXACT = ("step", "epoch", "loss", "learning_rate", "grad_norm", "tokens")
Line = tuple[float, ...]


class Recorder:
    """Remembers what it is told, and may do something after a step."""

    def __init__(self, after: Callable[[StepReport], None] = lambda _report: None) -> None:
        self.reports: list[StepReport] = []
        self.notes: list[str] = []
        self.began: list[tuple[str, int, int]] = []
        self.ended = 0
        self._after = after

    def begin(self, stage: str, *, total_steps: int, done_steps: int) -> None:
        self.began.append((stage, total_steps, done_steps))

    def step(self, report: StepReport) -> None:
        self.reports.append(report)
        self._after(report)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def detail(self, text: str) -> None:
        self.notes.append(text)

    def end(self) -> None:
        self.ended += 1


def send_at(step: int, number: signal.Signals = signal.SIGTERM) -> Callable[[StepReport], None]:
    def after(report: StepReport) -> None:
        if report.step == step:
            os.kill(os.getpid(), number)

    return after


def metrics(folder: Path) -> list[Line]:
    return [tuple(line[key] for key in EXACT) for line in JsonLines(folder / "metrics.jsonl").read()]


def trained_weights(bridge: BridgedModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in bridge.named_parameters() if parameter.requires_grad}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight), name


def test_interrupted_at_any_step_and_resumed_it_ends_with_the_same_bits(models: Path, tmp_path: Path) -> None:
    """Dropout is on, checkpoints and metric lines come at other steps than the interruptions, epochs pass."""
    recipe = tiny_run.make_recipe(models, "transfer.max_steps=8", "transfer.log_every=3", "transfer.checkpoint_every=5")
    bridge, result = tiny_run.train(recipe, tmp_path / "undisturbed", "transfer", Recorder())
    expected, lines = trained_weights(bridge), metrics(tmp_path / "undisturbed")
    assert result.steps == 8
    assert [line[0] for line in lines] == [3, 6, 8]
    assert lines[-1][1] == 3  # epochs
    for step in range(1, 8):
        folder = tmp_path / str(step)
        with pytest.raises(StoppedBySignal, match=f"after step {step} of 8"):
            tiny_run.train(recipe, folder, "transfer", Recorder(send_at(step)))
        progress = Recorder()
        bridge, resumed = tiny_run.train(recipe, folder, "transfer", progress)
        assert progress.began == [("transfer", 8, step)]
        assert_same(trained_weights(bridge), expected)
        assert metrics(folder) == lines
        assert (resumed.tokens, resumed.loss_tokens, resumed.loss) == (result.tokens, result.loss_tokens, result.loss)


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit"])
def test_8_bit_optimizers_resume_with_the_same_bits(models: Path, tmp_path: Path, optimizer: str) -> None:
    recipe = tiny_run.make_recipe(models, f"align.optimizer={optimizer}", "alignment.expansion=8")
    bridge, _ = tiny_run.train(recipe, tmp_path / "undisturbed", "align", Recorder())
    with pytest.raises(StoppedBySignal):
        tiny_run.train(recipe, tmp_path / "stopped", "align", Recorder(send_at(7)))
    again, _ = tiny_run.train(recipe, tmp_path / "stopped", "align", Recorder())
    assert_same(trained_weights(again), trained_weights(bridge))
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "undisturbed")


def crash_at(step: int) -> Callable[[StepReport], None]:
    def after(report: StepReport) -> None:
        if report.step == step:
            raise KeyError("a crash")

    return after


def test_what_was_written_after_the_checkpoint_is_written_again(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models, "align.log_every=1")
    tiny_run.train(recipe, tmp_path / "undisturbed", "align", Recorder())
    folder = tmp_path / "crashed"
    for step, resumes_after in ((2, 0), (5, 3)):  # a crash before the first checkpoint, and one between two
        with pytest.raises(KeyError):
            tiny_run.train(recipe, folder, "align", Recorder(crash_at(step)))
        assert len(metrics(folder)) == step
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"step": 7, "lo')
        progress = Recorder(crash_at(resumes_after + 1))
        with pytest.raises(KeyError):
            tiny_run.train(recipe, folder, "align", progress)
        assert progress.began[0][2] == resumes_after
    tiny_run.train(recipe, folder, "align", Recorder())
    assert metrics(folder) == metrics(tmp_path / "undisturbed")


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models)
    bridge, _ = tiny_run.train(recipe, tmp_path / "undisturbed", "align", Recorder())
    folder = tmp_path / "stopped"
    with pytest.raises(StoppedBySignal):
        tiny_run.train(recipe, folder, "align", Recorder(send_at(8)))
    trained = folder / "checkpoints" / "step-00000008" / "trained.safetensors"
    trained.write_bytes(trained.read_bytes()[:-10])
    progress = Recorder()
    again, _ = tiny_run.train(recipe, folder, "align", progress)
    assert progress.began == [("align", 12, 6)]
    assert len([note for note in progress.notes if "longest batch" not in note]) == 1
    assert "step-00000008" in progress.notes[0]
    assert_same(trained_weights(again), trained_weights(bridge))
    assert metrics(folder) == metrics(tmp_path / "undisturbed")


def test_ctrl_c_and_sigterm_save_and_leave_with_their_codes(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = tmp_path / number.name
        progress = Recorder(send_at(2, number))
        with pytest.raises(StoppedBySignal) as raised:
            tiny_run.train(recipe, folder, "align", progress)
        assert raised.value.exit_code == code
        assert (len(progress.reports), progress.ended) == (2, 1)
        assert (folder / "checkpoints" / "step-00000002" / "manifest.json").exists()


def test_checkpoints_come_as_often_as_asked_and_old_ones_go(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models, "align.checkpoint_every=2", "align.keep_checkpoints=3")
    with pytest.raises(KeyError):
        tiny_run.train(recipe, tmp_path, "align", Recorder(crash_at(11)))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000006",
        "step-00000008",
        "step-00000010",
    ]


def test_without_resume_an_unfinished_stage_is_not_overwritten(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models)
    with pytest.raises(KeyError):
        tiny_run.train(recipe, tmp_path, "align", Recorder(crash_at(4)))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="holds checkpoints of an unfinished stage"):
        tiny_run.train(recipe, tmp_path, "align", Recorder(), resume=False)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    tiny_run.train(recipe, tmp_path / "new", "align", Recorder(), resume=False)


def poison(monkeypatch: pytest.MonkeyPatch, call: int, change: Callable[[Tensor], Tensor]) -> None:
    """Change the result of the loss at one call of it; the longest batch, which runs before the first step, is none."""
    calls = [-1]
    loss = BridgedModel.loss

    def poisoned(self: BridgedModel, batch: Batch, *, num_items: int | None = None) -> Tensor:
        calls[0] += 1
        result = loss(self, batch, num_items=num_items)
        return change(result) if calls[0] == call else result

    monkeypatch.setattr(BridgedModel, "loss", poisoned)


class InfiniteGradient(torch.autograd.Function):
    """Leaves the value as it is and makes its gradient infinite."""

    @staticmethod
    def forward(_context: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * math.inf


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda loss: loss * math.nan, "the loss is not a finite number"),
        (lambda loss: InfiniteGradient.apply(loss), "the gradient is not a finite number"),
    ],
)
def test_a_step_that_is_not_finite_is_not_applied(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor], what: str
) -> None:
    # One micro-batch a step, so that the fifth call of the loss is the fifth step.
    recipe = tiny_run.make_recipe(models, "align.tokens_per_step=64", "align.checkpoint_every=2")
    weights: list[dict[str, Tensor]] = []
    bridges: list[BridgedModel] = []
    progress = Recorder(lambda _report: weights.append(trained_weights(bridges[0])))
    poison(monkeypatch, 5, change)
    with pytest.raises(TrainingError, match=what) as raised:
        tiny_run.train(recipe, tmp_path, "align", progress, bridges=bridges)
    line = raised.value.line()
    assert line.startswith("align, step 5: ")
    for part in ("learning rate 0.0097", "lower align.learning_rate to 0.003", "lilift keeps the checkpoint of step 4"):
        assert part in line
    assert raised.value.exit_code == 6
    assert_same(trained_weights(bridges[0]), weights[3])
    assert progress.ended == 1
    store = CheckpointStore(tmp_path / "checkpoints", fingerprint="", keep=1)
    assert max(store.steps()) == 4


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_exhausted_memory_is_one_line(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_arguments: object, **_keywords: object) -> Tensor:
        raise error

    monkeypatch.setattr(BridgedModel, "loss", fail)
    with pytest.raises(TrainingError, match=r"memory is exhausted even by a single row; .* lower data.max_tokens") as raised:
        tiny_run.train(tiny_run.make_recipe(models, "align.tokens_per_step=64"), tmp_path, "align", Recorder())
    assert "there is no checkpoint yet" in raised.value.line()


def test_a_bug_is_not_taken_for_exhausted_memory(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_loss: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    poison(monkeypatch, 1, fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        tiny_run.train(tiny_run.make_recipe(models), tmp_path, "align", Recorder())


def test_a_full_disk_stops_training_and_a_later_resume_loses_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_run.make_recipe(models)
    bridge, _ = tiny_run.train(recipe, tmp_path / "undisturbed", "align", Recorder())
    folder, fsync = tmp_path / "full", os.fsync

    def fill_disk(report: StepReport) -> None:
        if report.step == 6:
            monkeypatch.setattr(os, "fsync", refuse)

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="the disk is full"):
        tiny_run.train(recipe, folder, "align", Recorder(fill_disk))
    monkeypatch.setattr(os, "fsync", fsync)
    progress = Recorder()
    again, _ = tiny_run.train(recipe, folder, "align", progress)
    assert progress.began == [("align", 12, 3)]
    assert_same(trained_weights(again), trained_weights(bridge))


def test_epochs_decide_where_max_steps_does_not(models: Path, tmp_path: Path) -> None:
    recipe = tiny_run.make_recipe(models, "align.max_steps=null", "align.epochs=2", "align.log_every=1")
    progress = Recorder()
    _, result = tiny_run.train(recipe, tmp_path, "align", progress)
    lines = metrics(tmp_path)
    assert [line[1] for line in lines] == sorted(line[1] for line in lines)
    assert {line[1] for line in lines} == {1, 2}
    assert result.steps == len(lines) == progress.began[0][1]
    assert [report.step for report in progress.reports] == list(range(1, result.steps + 1))


class EmptySource(tiny_run.TinySource):
    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:  # noqa: ARG002
        return [None for _ in indices]


def test_rows_that_are_all_dropped_are_an_error(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_run, "TinySource", EmptySource)
    with pytest.raises(DataError, match="drop all 40 rows"):
        tiny_run.train(tiny_run.make_recipe(models), tmp_path, "align", Recorder())
