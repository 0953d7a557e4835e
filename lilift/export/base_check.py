"""Checks that a base model is the one that a run was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lilift.export.safetensors_headers import weight_files
from lilift.recipe import storage
from lilift.recipe.errors import ModelError

SUMS_FILE = "base_model.json"  # beside the adapter, in the phase's folder
_SHA256 = re.compile(r"[0-9a-f]{64}")


def weight_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each weight file of a model.

    The cache of the hub names large files by their sum, so lilift does not have to read them.
    """
    return {
        path.name: path.resolve().name if _SHA256.fullmatch(path.resolve().name) else storage.sha256_of(path)
        for path in weight_files(folder)
    }


def record_base(folder: Path, phase: Path) -> None:
    """Store the sums of a model's weights in the folder of the phase that trains on it; an existing record stays."""
    if not (phase / SUMS_FILE).exists():
        storage.write_json(phase / SUMS_FILE, weight_sums(folder))


def check_same_base(folder: Path, phase: Path) -> None:
    """Check that a model's weights have the recorded sums; runs of earlier versions have no record and are not checked.

    Raises:
        ModelError: a sum differs.
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
