"""Keeps the ratio of measured to predicted memory of each phase on this machine, to correct the next plan.

A plan cannot see the memory that the driver or a new version of a library takes for itself, nor the holes that batches of many
lengths leave between tensors. When a phase finishes on a GPU, lilift writes the ratio of its measured to its simulated peak to
``memory.json`` in ``~/.cache/lilift`` (``$XDG_CACHE_HOME/lilift``). It multiplies the next plans for the same GPU by the
largest of the last few ratios. Until there is one, it multiplies them by `UNCONFIRMED`. It never lowers the simulated peak,
because a run that took less may have had shorter texts.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from lilift import __version__
from lilift.recipe.errors import StorageError
from lilift.recipe.storage import write_json

KEPT = 5
"""Number of ratios kept for each phase."""
UNCONFIRMED = 1.07
"""The ratio for a GPU that has not finished a phase yet: the largest that lilift has measured. It was Llama-2-7B's shape with 8
layers on an H100: 1.055 in stage 1, 1.069 in stage 2, after six steps of unequal batches."""


def calibration_file() -> Path:
    """The file with the ratios."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilift" / "memory.json"


def record(gpu: str, phase: str, *, predicted_mib: float, measured_mib: float) -> None:
    """Keep the ratio of a phase. A file that cannot be written does not stop a run.

    Args:
        gpu: the name of the GPU.
        phase: the phase of the run.
        predicted_mib, measured_mib: peaks of the memory that torch's allocator reserves, in MiB; the predicted one before any
            ratio raised it.
    """
    path = calibration_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=5):
            known = _read(path)
            ratios = known.setdefault(_key(gpu), {}).setdefault(phase, [])
            ratios.append(round(measured_mib / predicted_mib, 4))
            del ratios[:-KEPT]
            write_json(path, known)
    except (OSError, StorageError, TimeoutError):
        return


def ratio(gpu: str | None, phase: str) -> float:
    """The factor for the predicted peak of a phase on this GPU; `UNCONFIRMED` without ratios or without a GPU."""
    known = measured_ratios(gpu, phase)
    return max(1.0, *known) if known else UNCONFIRMED


def measured_ratios(gpu: str | None, phase: str) -> list[float]:
    """The last ratios of a phase on this GPU, oldest first."""
    return [] if gpu is None else _read(calibration_file()).get(_key(gpu), {}).get(phase, [])


def _key(gpu: str) -> str:
    """Ratios of other versions do not count."""
    return f"{gpu}, torch {metadata.version('torch')}, lilift {__version__}"


def _read(path: Path) -> dict[str, dict[str, list[float]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
