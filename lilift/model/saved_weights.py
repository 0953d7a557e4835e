"""Read weights that lilift or peft wrote, from safetensors only, and refuse what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lilift.model.training_libraries import peft
from lilift.recipe.errors import ModelError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ModelError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ModelError("no such file of weights", where=path, remedy="check the folder")
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"the weights are damaged ({error})", where=path, remedy="use another checkpoint") from error
    return weights


def read_adapter_config(path: Path) -> peft.LoraConfig:
    """The settings of a LoRA adapter, from peft's ``adapter_config.json``.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        return peft.LoraConfig.from_pretrained(str(path.parent))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"cannot read the adapter's settings ({reason})", where=path, remedy="use another checkpoint"
        ) from error


def check_same_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Check that a file has exactly the expected weights, each in its shape.

    Raises:
        ModelError: a weight is missing or unexpected, or has another shape.
    """
    remedy = "the file belongs to other models or settings; use those it was trained with"
    for name in sorted(found.keys() ^ expected.keys()):
        raise ModelError(f"{name} is {'not expected' if name in found else 'missing'}", where=path, remedy=remedy)
    for name, weight in expected.items():
        if found[name].shape != weight.shape:
            shapes = f"{list(found[name].shape)} instead of {list(weight.shape)}"
            raise ModelError(f"{name} has the shape {shapes}", where=path, remedy=remedy)
