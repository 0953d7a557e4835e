"""Keeps the ratio of measured to predicted memory of each phase on this machine, to correct the next plan.

A plan cannot see the memory that the driver, cuBLAS or a new version of a library takes for itself. When a phase finishes on a
GPU, lilift writes the ratio of its measured to its predicted peak to ``memory.json`` in ``~/.cache/lilift``
(``$XDG_CACHE_HOME/lilift``). It multiplies the next plans for the same GPU by the largest of the last few ratios. It never
lowers a plan, because a run that took less than predicted may have had shorter texts.
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


def calibration_file() -> Path:
    """The file with the ratios."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilift" / "memory.json"


def record(gpu: str, phase: str, *, predicted_mib: float, measured_mib: float) -> None:
    """Keep the ratio of a phase. A file that cannot be written does not stop a run.

    Args:
        gpu: the name of the GPU.
        phase: the phase of the run.
        predicted_mib, measured_mib: peaks of the memory that torch's allocator reserves, in MiB.
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


def ratio(gpu: str, phase: str) -> float:
    """The factor for the predicted peak of a phase on this GPU; 1 if there are no ratios yet."""
    return max([1.0, *_read(calibration_file()).get(_key(gpu), {}).get(phase, [])])


def _key(gpu: str) -> str:
    """Ratios of other versions do not count."""
    return f"{gpu}, torch {metadata.version('torch')}, lilift {__version__}"


def _read(path: Path) -> dict[str, dict[str, list[float]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
