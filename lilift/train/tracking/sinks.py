"""The programs that draw a stage's metrics: TensorBoard, Trackio, Weights & Biases. lilift itself needs none of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lilift.recipe.errors import EnvironmentUnfit
from lilift.recipe.schema import Recipe
from lilift.train.tracking.tracker import OpenSink, Sink, Tracker

_PROJECT = "lilift"


def tracker_for(recipe: Recipe, folder: Path, note: Callable[[str], None]) -> Tracker | None:
    """What copies the metrics of a stage, or None if the recipe tracks nothing.

    Args:
        recipe: its `track` names the program.
        folder: the stage's folder in the run folder.
        note: prints a warning.
    """
    if recipe.track is None:
        return None
    sinks: dict[str, Callable[..., Sink]] = {"tensorboard": TensorBoard, "trackio": Trackio, "wandb": WeightsAndBiases}
    kind = sinks[recipe.track]
    open_sink: OpenSink = lambda name, anew: kind(recipe, folder, name, anew)  # noqa: E731
    return Tracker(recipe.track, open_sink, folder, note)


def _package(name: str, module: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        raise EnvironmentUnfit(f"it is not installed: pip install 'lilift[{name}]'") from None


class TensorBoard:
    """Files below `tensorboard/` in the run folder, one folder for each stage: `tensorboard --logdir runs/NAME`."""

    def __init__(self, recipe: Recipe, folder: Path, name: str, anew: bool) -> None:  # noqa: ARG002
        _package("tensorboard", "tensorboard")
        written = folder.parent / "tensorboard" / folder.name
        # With step 0, TensorBoard hides what an earlier training wrote into this folder, before --restart-from.
        purge = 0 if anew else None
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(str(written), purge_step=purge)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        for figure, value in figures.items():
            self._writer.add_scalar(figure, value, step)
        self._writer.flush()  # otherwise a killed process loses two minutes

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A database on this machine, or the space that the user's environment variables name: `trackio show --project lilift`."""

    def __init__(self, recipe: Recipe, folder: Path, name: str, anew: bool) -> None:  # noqa: ARG002
        group = folder.parent.name
        # Without the last four, it counts as a new run, opens a page in a notebook, and records the machine as well.
        self._run = _package("trackio", "trackio").init(
            _PROJECT,
            name=f"{group}-{folder.name}-{name}",
            group=group,
            config=_flat(recipe.as_dict()),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


class WeightsAndBiases:
    """A server, or files in the run folder with `WANDB_MODE=offline`."""

    def __init__(self, recipe: Recipe, folder: Path, name: str, anew: bool) -> None:  # noqa: ARG002
        wandb = _package("wandb", "wandb")
        group = folder.parent.name
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=f"{folder.name}-{name}",
            name=f"{group} {folder.name}",
            group=group,
            config=recipe.as_dict(),
            resume="allow",
            dir=str(folder.parent),
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True),
        )
        # Otherwise it drops every line whose step is below that of the line before, whichever file it comes from.
        self._run.define_metric("*", step_metric="step")

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log({**figures, "step": step})

    def close(self) -> None:
        self._run.finish()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as ``{"align.epochs": 1.0}``."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
