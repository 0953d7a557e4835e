"""A whole run of `tiny-cpu`, small: every phase does its real work on the real stand-ins, only less of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

SMALL = (
    "data.instructions.limit=120",
    "align.max_steps=10",
    "align.checkpoint_every=3",
    "align.log_every=2",
    "transfer.max_steps=8",
    "transfer.checkpoint_every=3",
    "transfer.log_every=2",
    "evaluate.benchmarks=[{name: world, limit: 4}, {name: xnli, source: sample, languages: [en, sw], labels: likelihood}]",
    "evaluate.max_new_tokens=12",
    "languages=[om, fj]",
)
TIMES = ("seconds", "tokens_per_second", "memory_mib")


def arguments(folder: Path, *more: str, small: tuple[str, ...] = SMALL) -> list[str]:
    settings = [part for text in small for part in ("--set", text)]
    return ["recipe", "run", "tiny-cpu", "--run-folder", str(folder), *settings, *more]


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(run.glob("*/*/*.safetensors")):
        found |= {f"{path.relative_to(run)}:{name}": tensor for name, tensor in load_file(path).items()}
    return found


def metrics(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Every line of metrics but for what depends on the clock."""
    return {
        str(path.relative_to(run)): [
            {key: value for key, value in json.loads(line).items() if key not in TIMES}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in sorted(run.glob("*/metrics.jsonl"))
    }


def answers(run: Path) -> dict[str, list[str]]:
    return {
        str(path.relative_to(run)): sorted(path.read_text("utf-8").splitlines()) for path in run.glob("evaluate/*/*/*.jsonl")
    }
