"""Whether the base model at hand is the one that a run was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lilift.export.safetensors_rows import weight_files
from lilift.recipe import storage
from lilift.recipe.errors import ModelError

SUMS_FILE = "base_model.json"  # beside the adapter, in the phase's folder
_SHA256 = re.compile(r"[0-9a-f]{64}")


def weight_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a model's weights.

    The hub's cache names large files by their sum, which saves reading them.
    """
    return {
        path.name: path.resolve().name if _SHA256.fullmatch(path.resolve().name) else storage.sha256_of(path)
        for path in weight_files(folder)
    }


def record_base(folder: Path, phase: Path) -> None:
    """Keep the sums of a model's weights with what is trained on it; what is kept already stays."""
    if not (phase / SUMS_FILE).exists():
        storage.write_json(phase / SUMS_FILE, weight_sums(folder))


def check_same_base(folder: Path, phase: Path) -> None:
    """Check that a model's weights are those that were recorded; runs of earlier versions recorded none.

    Raises:
        ModelError: they are not.
    """
    if not (phase / SUMS_FILE).exists():
        return
    recorded: Mapping[str, str] = storage.read_json(phase / SUMS_FILE)
    found = weight_sums(folder)
    changed = sorted(name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name))
    if changed:
        raise ModelError(
            f"{changed[0]} is not the file that this run was trained on",
            where=folder,
            remedy="use the revision of the base model that the run was trained on, or train again",
        )
