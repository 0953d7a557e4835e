"""Checkpoints of a stage: sealed folders of safetensors and JSON. Training continues from the newest intact one.

checkpoints/step-00000200/
  trained.safetensors     the tensors that this stage trains, and no others
  optimizer.safetensors   moments, with the maps and block maxima of 8-bit ones
  random.safetensors      torch's generators
  state.json              place in the data, counters, unwritten metrics, the optimizer's numbers, other generators
  manifest.json           size and SHA-256 of each file, the recipe's fingerprint
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from lilift.data.batches.step_grouping import Position
from lilift.recipe.errors import RunFolderError
from lilift.recipe.sealed_folders import remove_folder, sealed_folder, verify_sealed_folder
from lilift.recipe.storage import read_json, remove_partial, write_json
from lilift.train.metrics import Totals, Window
from lilift.train.optimizer import optimizer_state, restore_optimizer
from lilift.train.randomness import random_state, restore_random_state

_TRAINED, _OPTIMIZER, _RANDOM, _STATE = "trained.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """An intact checkpoint on disk."""

    folder: Path
    step: int


@dataclass
class TrainingState:
    """The state of a stage apart from its tensors.

    Attributes:
        position: the next step's place in the data.
        totals: the work done so far.
        window: the work done since the last line of metrics.
        budget: the largest number of tokens in a micro-batch after memory ran out; None if it never did.
    """

    position: Position = field(default_factory=Position)
    totals: Totals = field(default_factory=Totals)
    window: Window = field(default_factory=Window)
    budget: int | None = None


class CheckpointStore:
    """The checkpoints of one stage.

    Args:
        folder: holds one folder for each checkpoint.
        fingerprint: a digest of everything in the recipe that the stage depends on. The store refuses a checkpoint with another
            one.
        keep: how many complete checkpoints stay.
    """

    def __init__(self, folder: Path, *, fingerprint: str, keep: int) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.keep = keep

    def steps(self) -> dict[int, Path]:
        """The folder of every checkpoint under its step, oldest first. A folder may be damaged, but none is half written."""
        found = {}
        for path in self.folder.glob("step-*"):
            if path.is_dir() and (match := re.fullmatch(r"step-(\d+)", path.name)):
                found[int(match[1])] = path
        return dict(sorted(found.items()))

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step, which exists."""
        return Checkpoint(self.folder / f"step-{step:08d}", step)

    def require_none(self) -> None:
        """Refuse a folder that holds checkpoints.

        Raises:
            RunFolderError: it holds some.
        """
        if self.steps():
            raise RunFolderError(
                "the folder holds checkpoints of an unfinished stage",
                where=self.folder,
                remedy="resume the run, or choose another folder",
            )

    def newest_intact(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest intact checkpoint, or None if there is no checkpoint yet.

        For each damaged checkpoint, `warn` gets one line.

        Raises:
            RunFolderError: all are damaged, or the newest intact one belongs to another recipe.
        """
        steps = self.steps()
        for step, folder in reversed(steps.items()):
            try:
                details = verify_sealed_folder(folder)
            except RunFolderError as error:
                warn(f"{error.line()}; lilift tries the checkpoint before it")
                continue
            if details.get("fingerprint") != self.fingerprint:
                raise RunFolderError(
                    "this checkpoint was made with other settings",
                    where=folder,
                    remedy="use the recipe it was made with or another run folder, or repeat the phase with --restart-from",
                )
            return Checkpoint(folder, step)
        if steps:
            raise RunFolderError(
                f"none of the {len(steps)} checkpoints is intact",
                where=self.folder,
                remedy="restore one from a copy, or delete this folder to train the stage from its start",
            )
        return None

    def newest_intact_step(self, warn: Callable[[str], None]) -> int | None:
        """The step of `newest_intact`, with the same errors."""
        checkpoint = self.newest_intact(warn)
        return None if checkpoint is None else checkpoint.step

    def save(self, trained: Mapping[str, nn.Parameter], optimizer: Optimizer, state: TrainingState) -> Checkpoint:
        """Write a checkpoint, then delete checkpoints beyond `keep`.

        Raises:
            StorageError: the disk is full or read-only. Earlier checkpoints stay as they are.
        """
        moments, numbers = optimizer_state(optimizer, trained)
        generators, other_generators = random_state()
        step = state.totals.step
        plain = {
            **asdict(state),
            "optimizer": numbers,
            "random": other_generators,
            "threads": torch.get_num_threads(),
        }
        saved = self.at(step)
        with sealed_folder(saved.folder, {"fingerprint": self.fingerprint, "step": step}) as partial:
            save_file({name: parameter.detach().cpu().contiguous() for name, parameter in trained.items()}, partial / _TRAINED)
            save_file(moments, partial / _OPTIMIZER)
            save_file(generators, partial / _RANDOM)
            write_json(partial / _STATE, plain)
        self._remove_unwanted(step)
        return saved

    def load(
        self,
        checkpoint: Checkpoint,
        trained: Mapping[str, nn.Parameter],
        optimizer: Optimizer,
        warn: Callable[[str], None],
    ) -> TrainingState:
        """Restore tensors, optimizer and random generators as `save` found them.

        Raises:
            RunFolderError: the checkpoint belongs to other tensors or another optimizer, or lilift cannot read it.
        """
        try:
            restore_tensors(trained, load_file(checkpoint.folder / _TRAINED))
            plain = read_json(checkpoint.folder / _STATE)
            restore_optimizer(optimizer, trained, load_file(checkpoint.folder / _OPTIMIZER), plain["optimizer"])
            restore_random_state(load_file(checkpoint.folder / _RANDOM), plain["random"])
        except RunFolderError as error:
            raise RunFolderError(
                error.what, where=checkpoint.folder, remedy="use the recipe and versions it was made with"
            ) from error
        except (SafetensorError, OSError) as error:
            raise RunFolderError(f"cannot be read ({error})", where=checkpoint.folder) from error
        if plain["threads"] != torch.get_num_threads():
            warn(
                f"the checkpoint was made with {plain['threads']} CPU threads, and this run has {torch.get_num_threads()}. "
                "Results may differ in their last digits; set OMP_NUM_THREADS to avoid this"
            )
        return TrainingState(
            Position(**plain["position"]), Totals(**plain["totals"]), Window(**plain["window"]), plain.get("budget")
        )

    def remove_all(self) -> None:
        """Delete every checkpoint. Call it when the stage's result is safe."""
        if self.folder.exists():
            remove_folder(self.folder)

    def _remove_unwanted(self, newest: int) -> None:
        """Keep the newest `keep` up to `newest`. Later ones are damaged, or training would have continued from them."""
        steps = self.steps()
        earlier = [step for step in steps if step <= newest]
        wanted = earlier[-self.keep :]
        for step, folder in steps.items():
            if step not in wanted:
                remove_folder(folder)
        remove_partial(self.folder)


def restore_tensors(trained: Mapping[str, nn.Parameter], saved: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into the parameters of the same names.

    Raises:
        RunFolderError: names or shapes differ.
    """
    if trained.keys() != saved.keys():
        name = sorted(trained.keys() ^ saved.keys())[0]
        raise RunFolderError(f"the checkpoint does not fit the model: only one of the two has {name}")
    for name, parameter in trained.items():
        if parameter.shape != saved[name].shape:
            raise RunFolderError(
                f"the checkpoint does not fit the model: {name} is {list(saved[name].shape)}, not {list(parameter.shape)}"
            )
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
