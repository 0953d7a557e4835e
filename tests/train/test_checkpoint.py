"""Checkpoints: written whole, verified, and chosen from the newest that is intact."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lilift.data.batches.step_grouping import Position
from lilift.recipe.errors import RunFolderError, StorageError
from lilift.recipe.schema import AlignSettings
from lilift.train.checkpoint import Checkpoint, CheckpointStore, TrainingState, restore_tensors
from lilift.train.metrics import Totals, Window
from lilift.train.optimizer import build_optimizer
from lilift.train.randomness import seed_everything


class Saved:
    """A store in `folder` and something to save in it."""

    def __init__(self, folder: Path, *, keep: int = 3, fingerprint: str = "abc") -> None:
        self.store = CheckpointStore(folder / "checkpoints", fingerprint=fingerprint, keep=keep)
        self.trained = {"a": nn.Parameter(torch.arange(6.0)), "b": nn.Parameter(torch.ones(2, 3))}
        self.optimizer = build_optimizer(self.trained, AlignSettings(optimizer="adamw"))
        self.warnings: list[str] = []

    def save(self, *steps: int) -> None:
        for step in steps:
            with torch.no_grad():
                self.trained["a"].fill_(step)
            state = TrainingState(Position(1, 2, step), Totals(step=step, tokens=10 * step), Window(loss_sum=1 / 3, steps=1))
            self.store.save(self.trained, self.optimizer, state)

    def newest(self) -> Checkpoint | None:
        return self.store.newest_intact(self.warnings.append)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[len(content) // 2] ^= 4
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(content))


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    assert Saved(tmp_path).newest() is None


def test_everything_comes_back(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    seed_everything(7)
    saved.save(4)
    expected = torch.rand(3)
    other = Saved(tmp_path)
    newest = other.newest()
    assert newest is not None
    state = other.store.load(newest, other.trained, other.optimizer, other.warnings.append)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(other.trained["a"], torch.full((6,), 4.0))
    assert state == TrainingState(Position(1, 2, 4), Totals(step=4, tokens=40), Window(loss_sum=1 / 3, steps=1))
    assert other.warnings == []


def test_it_holds_the_trained_tensors_and_no_pickle(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.save(4)
    folder = tmp_path / "checkpoints" / "step-00000004"
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert set(load_file(folder / "trained.safetensors")) == {"a", "b"}


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize("name", ["trained.safetensors", "random.safetensors", "state.json", "manifest.json"])
def test_a_damaged_newest_one_is_named_and_passed_over(tmp_path: Path, how: str, name: str) -> None:
    saved = Saved(tmp_path)
    saved.save(2, 4)
    damage(tmp_path / "checkpoints" / "step-00000004" / name, how)
    newest = saved.newest()
    assert newest is not None
    assert newest.step == 2
    assert len(saved.warnings) == 1
    assert "step-00000004" in saved.warnings[0]
    assert "\n" not in saved.warnings[0]


def test_an_unfinished_one_is_never_picked_up(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.save(2)
    folder = tmp_path / "checkpoints"
    (folder / "step-00000002").rename(folder / ".partial-step-00000004")
    assert saved.newest() is None
    saved.save(3)
    assert [path.name for path in folder.iterdir()] == ["step-00000003"]


def test_when_none_is_intact_the_error_says_what_to_do(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.save(2, 4)
    for step in (2, 4):
        damage(tmp_path / "checkpoints" / f"step-0000000{step}" / "state.json", "flipped")
    with pytest.raises(RunFolderError, match=r"none of the 2 checkpoints is intact; restore one from a copy") as raised:
        saved.newest()
    assert raised.value.exit_code == 5


def test_the_fingerprint_must_be_the_same(tmp_path: Path) -> None:
    Saved(tmp_path).save(2)
    with pytest.raises(RunFolderError, match="other settings"):
        Saved(tmp_path, fingerprint="xyz").newest()


def test_the_newest_ones_stay(tmp_path: Path) -> None:
    saved = Saved(tmp_path, keep=2)
    saved.save(9, 10, 100)
    assert list(saved.store.steps()) == [10, 100]


def test_a_damaged_later_one_never_costs_a_good_one(tmp_path: Path) -> None:
    saved = Saved(tmp_path, keep=1)
    saved.save(6)
    (tmp_path / "checkpoints" / "step-00000009").mkdir()  # left damaged by a full disk, say
    saved.save(8)
    assert list(saved.store.steps()) == [8]


def test_a_full_disk_costs_no_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Saved(tmp_path, keep=1)
    saved.save(2)

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        saved.save(4)
    monkeypatch.undo()
    newest = saved.newest()
    assert newest is not None
    assert newest.step == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


def test_tensors_of_another_model_are_refused(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.save(2)
    other = Saved(tmp_path)
    newest = other.newest()
    assert newest is not None
    other.trained["c"] = nn.Parameter(torch.ones(1))
    with pytest.raises(
        RunFolderError, match=r"step-00000002: the checkpoint does not fit the model: only one of the two has c"
    ):
        other.store.load(newest, other.trained, other.optimizer, other.warnings.append)
    with pytest.raises(RunFolderError, match=r"a is \[6\], not \[5\]"):
        restore_tensors({"a": nn.Parameter(torch.ones(5))}, {"a": torch.ones(6)})


def test_another_number_of_threads_is_worth_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Saved(tmp_path)
    saved.save(2)
    newest = saved.newest()
    assert newest is not None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    saved.store.load(newest, saved.trained, saved.optimizer, saved.warnings.append)
    assert len(saved.warnings) == 1
    assert "this run has 7" in saved.warnings[0]


def test_removing_all_leaves_no_folder(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    saved.save(2, 4)
    saved.store.remove_all()
    saved.store.remove_all()
    assert list(tmp_path.iterdir()) == []
