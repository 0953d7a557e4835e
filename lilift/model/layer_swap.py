"""Combines two adapters of one LLM layer by layer: layer swapping (Bandarkar et al., arXiv 2410.01335).

A language expert and a task expert begin with the same LLM. The combined LLM has the bottom and top transformer layers of the
language expert, and the middle layers of the task expert. Between them are transition layers with the mean of both. What is in
no transformer layer comes from the language expert.

The experts here are LoRA adapters. The mean of two low-rank changes is again low-rank: ``(B1·A1 + B2·A2) / 2`` is one product
of the stacked matrices, with the sum of both ranks. peft scales an adapter by alpha / rank, and the stacked rank is twice as
large, so the stacked matrices need no other scale. Only transition layers have this rank (`rank_pattern` of peft).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from lilift.model.bridge_files import ADAPTER_CONFIG, ADAPTER_FILE
from lilift.model.saved_weights import check_same_weights, read_weights
from lilift.recipe import storage
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.schema import LayerSwapSettings
from lilift.recipe.sealed_folders import sealed_folder, verify_part

Origin = Literal["language", "mean", "task"]

_LAYER = re.compile(r"\.(\d+)\.")
_HALF = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])\.weight$")


def origin_of(layer: int | None, layers: int, settings: LayerSwapSettings) -> Origin:
    """Which expert a layer comes from.

    Args:
        layer: its number from 0; None for what is in no layer, such as embeddings.
        layers: of the LLM.
        settings: the zones.
    """
    if layer is None:
        return "language"
    from_bottom, from_top = layer - settings.bottom, layers - settings.top - 1 - layer
    if min(from_bottom, from_top) < 0:
        return "language"
    beside = (settings.bottom and from_bottom < settings.transition) or (settings.top and from_top < settings.transition)
    return "mean" if beside else "task"


def check_zones(settings: LayerSwapSettings, layers: int) -> None:
    """Check that an LLM has enough layers for the zones.

    Raises:
        RecipeError: no layer of the task expert would be left.
    """
    needed = settings.bottom + settings.top + settings.transition * (bool(settings.bottom) + bool(settings.top))
    if needed >= layers:
        raise RecipeError(
            f"bottom, top and their transitions take {needed} layers, and the LLM has only {layers}, so no layer is left for "
            "the task",
            where="transfer.layer_swap",
            remedy="set bottom, top or transition lower; the paper has 5, 2 and 1 of 32 layers",
        )


def swap_layers(
    language: Path, task: Path, output: Path, settings: LayerSwapSettings, *, layers: int, details: Mapping[str, Any]
) -> None:
    """Combine two sealed adapter folders in a third one.

    Args:
        language: the adapter of the language.
        task: the adapter of the task, with the same rank, alpha and layers.
        output: gets the combined adapter in peft's format, and is sealed.
        settings: the zones.
        layers: number of the LLM's transformer layers.
        details: kept in the manifest of `output`.

    Raises:
        RecipeError: see `check_zones`.
        RunFolderError: one of the two is missing or damaged.
        ModelError: they do not have the same weights, or weights that lilift cannot take the mean of.
    """
    check_zones(settings, layers)
    for part in (language, task):
        verify_part(part, if_damaged=f"train it again with `--restart-from {part.parent.name}`")
    theirs, ours = read_weights(language / ADAPTER_FILE), read_weights(task / ADAPTER_FILE)
    check_same_weights(theirs, ours, language / ADAPTER_FILE)
    combined: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    used: Counter[str] = Counter()
    for name in ours:
        origin = origin_of(layer_of(name), layers, settings)
        used[origin] += name.endswith(".lora_A.weight")
        if origin != "mean":
            combined[name] = (theirs if origin == "language" else ours)[name]
            continue
        found = _HALF.match(name)
        if found is None:
            raise ModelError(
                f"lilift cannot combine the adapters' weight {name!r}, because it is no half of a linear layer's LoRA",
                where=task,
                remedy="name linear layers in `transfer.lora.target_modules`, or set `transfer.layer_swap.transition` to 0",
            )
        is_a = found["half"] == "A"  # A [rank, in], B [out, rank]
        combined[name] = torch.cat([theirs[name], ours[name]], dim=0 if is_a else 1)
        if is_a:
            ranks[found["module"]] = combined[name].shape[0]
    config = storage.read_json(task / ADAPTER_CONFIG)
    zones = {"layer_swap": settings.model_dump(), "layers": layers, "modules": dict(sorted(used.items()))}
    with sealed_folder(output, {**details, **zones}) as partial:
        save_file({name: weight.contiguous() for name, weight in combined.items()}, partial / ADAPTER_FILE)
        storage.write_json(partial / ADAPTER_CONFIG, config | {"rank_pattern": {**config.get("rank_pattern", {}), **ranks}})


def zones_in_words(settings: LayerSwapSettings, layers: int) -> str:
    """Which layers come from where, for the user."""
    origins = [origin_of(layer, layers, settings) for layer in range(layers)]
    spans = [(origin, list(group)) for origin, group in groupby(range(layers), key=origins.__getitem__)]
    names = {"language": "stage 1", "mean": "the mean of both", "task": "stage 2"}
    return ", ".join(
        f"layer{'' if len(span) == 1 else 's'} {span[0]}{'' if len(span) == 1 else f' to {span[-1]}'} from {names[origin]}"
        for origin, span in spans
    )


def layer_of(name: str) -> int | None:
    """The number of the transformer layer that a weight belongs to; None if it is in none."""
    found = _LAYER.search(name)
    return None if found is None else int(found[1])
