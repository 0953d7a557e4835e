"""Reads a peft LoRA adapter as the changes that it makes to the base model's weights, or says by name why it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lilift.export.safetensors_rows import Floats, SafetensorsFolder
from lilift.recipe.errors import ModelError

_ADAPTER_PREFIX = "base_model.model."
_LORA_KEY = re.compile(r"^(?P<layer>.+)\.lora_(?P<embedding>embedding_)?(?P<half>[AB])(?:\.weight)?$")
# Settings of peft's LoRA that do not change what an adapter adds to the weights, and those that `read_adapter` reads. Every
# other setting that has a value is refused, so that a later kind of adapter is never merged as if it were plain LoRA.
_WITHOUT_EFFECT = {
    *("auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules"),
    *("inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config"),
    *("megatron_core", "peft_type", "peft_version", "qalora_group_size", "revision", "target_modules", "task_type"),
    "velora_config",
}
_READ = {"alpha_pattern", "bias", "fan_in_fan_out", "init_lora_weights", "lora_alpha", "r", "rank_pattern", "use_rslora"}
# Ways to begin that change the base model's weights too: https://huggingface.co/docs/peft/developer_guides/lora
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_REMEDY = "merge it with peft's own `merge_and_unload`, or train the transfer stage again"


@dataclass(frozen=True)
class LowRankUpdate:
    """The change that LoRA adds to one weight: ``scale · B @ A``, with A [rank, in] and B [out, rank], read when needed.

    Attributes:
        weights: the adapter's file.
        a, b: the names of A and B in it.
        scale: a factor.
        transposed: whether the weight is stored as [in, out]: embeddings, and layers of the kind that GPT-2 has.
    """

    weights: SafetensorsFolder
    a: str
    b: str
    scale: float
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that it changes."""
        outputs, inputs = self.weights.shape(self.b)[0], self.weights.shape(self.a)[1]
        return (inputs, outputs) if self.transposed else (outputs, inputs)

    def transpose(self) -> LowRankUpdate:
        """The same change for a weight that is stored as [in, out]."""
        return replace(self, transposed=True)

    def added_to(self, chunks: Iterator[Floats]) -> Iterator[Floats]:
        """The rows of the weight with the change added."""
        right, left = self.weights.rows(self.a), self.weights.rows(self.b)
        if self.transposed:
            right, left = left.T, right.T
        start = 0
        for rows in chunks:
            rows += self.scale * (left[start : start + rows.shape[0]] @ right)
            start += rows.shape[0]
            yield rows


@dataclass(frozen=True)
class Adapter:
    """A peft LoRA adapter.

    Attributes:
        updates: its low-rank updates, by the name of the weight that each belongs to.
        copies: weights of the base model that peft saves too if an adapter is on the embeddings, as name and the file's key.
        weights: its file.
    """

    updates: dict[str, LowRankUpdate]
    copies: dict[str, str]
    weights: SafetensorsFolder


def read_adapter(folder: Path) -> Adapter:
    """Read a peft LoRA folder.

    Raises:
        ModelError: the folder is not a LoRA adapter that lilift can merge, or is incomplete; the message names the setting.
    """
    config = _read_config(folder)
    _check_mergeable(config, folder)
    weights = SafetensorsFolder(folder)
    pairs: dict[str, dict[str, str]] = {}
    embeddings, copies = set(), {}
    for key in weights.tensors:
        own = key.removeprefix(_ADAPTER_PREFIX)
        found = _LORA_KEY.match(own)
        if found is None:
            if ".lora_" in own or not own.endswith((".weight", ".bias")):
                raise ModelError(f"lilift does not know the adapter's weight {key!r}", where=folder, remedy=_REMEDY)
            copies[own.replace(".base_layer.", ".")] = key
            continue
        pairs.setdefault(found["layer"], {})[found["half"]] = key
        if found["embedding"]:
            embeddings.add(found["layer"])
    updates = {}
    for layer, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise ModelError(
                f"half of the adapter for {layer + '.weight'!r} is missing",
                where=folder,
                remedy="train the transfer stage again",
            )
        scale = _scale(config, layer, rank=weights.shape(pair["A"])[0])
        updates[f"{layer}.weight"] = LowRankUpdate(weights, pair["A"], pair["B"], scale, transposed=layer in embeddings)
    return Adapter(updates, copies, weights)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"lilift cannot read the adapter ({error})", where=folder, remedy="train the transfer stage again"
        ) from None
    return config


def _check_mergeable(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"lilift can only merge LoRA adapters, and this is {config.get('peft_type')}", where=folder, remedy=_REMEDY
        )
    begins = str(config.get("init_lora_weights", ""))
    unknown = {name: value for name, value in config.items() if value and name not in _WITHOUT_EFFECT | _READ}
    if config.get("bias", "none") != "none":
        unknown["bias"] = config["bias"]
    if begins.lower().startswith(_CHANGES_BASE):
        unknown["init_lora_weights"] = begins
    if unknown:
        name = min(unknown)
        raise ModelError(
            f"lilift cannot merge a LoRA adapter with {name} = {str(unknown[name])[:80]!r}", where=folder, remedy=_REMEDY
        )


def _scale(config: Mapping[str, Any], layer: str, *, rank: int) -> float:
    """The factor of a layer's update.

    As in peft (`get_pattern_key` in peft/utils/other.py), the first key of `alpha_pattern` that matches the end of the layer's
    name counts. The rank is that of the layer's own matrices, which follow `rank_pattern`.
    """
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    alpha = next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)), config["lora_alpha"])
    return float(alpha / rank ** (0.5 if config.get("use_rslora") else 1.0))
