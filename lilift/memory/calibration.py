"""What phases took on this machine beside what was planned, kept for the next plan.

A plan cannot see what the driver, cuBLAS or a new version of a library take for themselves. Each phase that a GPU has finished
leaves the ratio of its measured to its predicted peak in ``memory.json`` in ``~/.cache/lilift`` (``$XDG_CACHE_HOME/lilift``).
Plans for the same GPU are raised by the largest of the last few. They are never lowered: a run that took less than was
predicted may have had shorter texts.
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
"""Ratios kept for each phase."""


def calibration_file() -> Path:
    """Where ratios are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lilift" / "memory.json"


def record(gpu: str, phase: str, *, predicted_mib: float, measured_mib: float) -> None:
    """Keep what a phase took; that it cannot be written is no reason to stop a run.

    Args:
        gpu: the card's name.
        phase: of the run.
        predicted_mib, measured_mib: peaks of what torch's allocator reserves.
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
    """What the predicted peak of a phase is to be multiplied by on this GPU; 1 where nothing is known."""
    return max([1.0, *_read(calibration_file()).get(_key(gpu), {}).get(phase, [])])


def _key(gpu: str) -> str:
    """Ratios of other versions say nothing."""
    return f"{gpu}, torch {metadata.version('torch')}, lilift {__version__}"


def _read(path: Path) -> dict[str, dict[str, list[float]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
