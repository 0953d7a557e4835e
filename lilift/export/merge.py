"""Merge a LoRA adapter into its base model's weights, tensor by tensor.

The adapter learned on top of the *dequantised NF4* weights, so those are what it is merged into unless the originals are
asked for: exactly the layers that were 4-bit in training are taken through NF4 and back, nothing else is. Only one tensor and
one output shard are in memory at a time.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsandbytes.functional
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from lilift.recipe import storage
from lilift.recipe.errors import ModelError, StorageError
from lilift.recipe.schema import Dtype

SHARD_BYTES = 2 * 1024**3
_WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_ADAPTER_PREFIX = "base_model.model."
_LORA_KEY = re.compile(r"^(?P<layer>.+)\.lora_(?P<half>[AB])\.weight$")


@dataclass(frozen=True)
class MergeReport:
    """What a merge did."""

    merged_layers: int
    round_tripped_layers: int
    tensors: int
    bytes_written: int


@dataclass(frozen=True)
class LowRankUpdate:
    """What LoRA adds to one weight: ``scale · B @ A``, with A [rank, in] and B [out, rank]."""

    a: Tensor
    b: Tensor
    scale: float

    def added_to(self, weight: Tensor) -> Tensor:
        return weight.float() + self.scale * (self.b.float() @ self.a.float())


def merge(
    base: Path, adapter: Path, output: Path, *, quantized: bool, merge_base: str, compute_dtype: Dtype, dtype: Dtype
) -> MergeReport:
    """Write `base` with `adapter` merged in to the sealed folder `output`, with every other file of `base` verbatim.

    Args:
        base: a Hugging Face model folder with safetensors weights.
        adapter: a peft LoRA folder.
        output: where the merged model goes; replaced in one motion.
        quantized: whether the base was NF4 in training.
        merge_base: ``dequantised`` or ``original``.
        compute_dtype: the precision in which the base was loaded before it was quantised.
        dtype: the precision of the merged weights.

    Raises:
        ModelError: weights are missing, or a part of the adapter fits no weight of the base.
        StorageError: there is no room for the result.
    """
    tensors = _tensor_locations(base)
    updates = read_adapter(adapter)
    unknown = sorted(set(updates) - set(tensors))
    if unknown:
        raise ModelError(
            f"the adapter changes {unknown[0]!r}, which the base model in {base} does not have",
            where=adapter,
            remedy="merge it into the base model that it was trained on",
        )
    round_trip = quantised_layers(base) if quantized and merge_base == "dequantised" else frozenset()
    target = getattr(torch, dtype)
    _require_room(output, sum(_numel(path, name) for name, path in tensors.items()) * target.itemsize)

    def merged() -> Iterator[tuple[str, Tensor]]:
        for name, path in tensors.items():
            with safe_open(path, framework="pt") as file:
                weight: Tensor = file.get_tensor(name)
            if name in round_trip:
                weight = through_nf4(weight.to(getattr(torch, compute_dtype)))
            if name in updates:
                weight = updates[name].added_to(weight)
            yield name, weight.to(target) if weight.is_floating_point() else weight

    with storage.sealed_folder(output, {"merge_base": merge_base if quantized else "original"}) as folder:
        _copy_other_files(base, folder, dtype)
        written = _write_shards(folder, merged())
    return MergeReport(len(updates), len(round_trip), len(tensors), written)


def read_adapter(folder: Path) -> dict[str, LowRankUpdate]:
    """The low-rank updates of a peft LoRA folder, by the name of the weight that each belongs to.

    Raises:
        ModelError: it is no plain LoRA adapter, or incomplete.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
            halves = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot read the adapter ({error})", where=folder, remedy="train the transfer stage again") from None
    if config.get("use_dora") or config.get("peft_type") != "LORA":
        raise ModelError("only plain LoRA adapters can be merged", where=folder)
    scale = config["lora_alpha"] / (config["r"] ** (0.5 if config.get("use_rslora") else 1.0))
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in halves.items():
        found = _LORA_KEY.match(key.removeprefix(_ADAPTER_PREFIX))
        if found is None:
            raise ModelError(f"does not know what to do with the adapter's {key!r}", where=folder)
        pairs.setdefault(found["layer"] + ".weight", {})[found["half"]] = tensor
    for name, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise ModelError(f"half of the adapter for {name!r} is missing", where=folder)
    return {name: LowRankUpdate(pair["A"], pair["B"], scale) for name, pair in pairs.items()}


def quantised_layers(base: Path) -> frozenset[str]:
    """Names of the weights that are 4-bit when the model is loaded for training: every linear layer but the output head."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    head = model.get_output_embeddings()
    return frozenset(
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    )


def through_nf4(weight: Tensor) -> Tensor:
    """A weight after NF4 with double quantisation and back, as `bitsandbytes` holds it in training. [out, in] → [out, in]"""
    packed, state = bitsandbytes.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    restored: Tensor = bitsandbytes.functional.dequantize_4bit(packed, state)
    return restored


def _tensor_locations(base: Path) -> dict[str, Path]:
    """Every tensor of a model folder and the file it is in."""
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise ModelError("has no safetensors weights", where=base, remedy="give a folder or revision that has them")
    found: dict[str, Path] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                found.update(dict.fromkeys(file.keys(), path))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot be read ({error})", where=path, remedy="download the base model again") from None
    return found


def _numel(path: Path, name: str) -> int:
    with safe_open(path, framework="pt") as file:
        size = 1
        for extent in file.get_slice(name).get_shape():
            size *= extent
        return size


def _require_room(output: Path, needed: int) -> None:
    place = next(parent for parent in output.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StorageError(
            f"the merged model takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            where=output,
            remedy="free some space, or export to another disk with --output",
        )


def _copy_other_files(base: Path, folder: Path, dtype: Dtype) -> None:
    """Tokenizer files byte for byte; the configuration with the new precision in it."""
    for path in sorted(base.iterdir()):
        is_weight = path.suffix in _WEIGHT_FILES or path.name.endswith(".index.json")
        if path.is_file() and not is_weight and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)  # content alone: a read-only source must not make a read-only copy
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config", None)
    config.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(config | {"dtype": dtype}, indent=2) + "\n", encoding="utf-8")


def _write_shards(folder: Path, tensors: Iterator[tuple[str, Tensor]]) -> int:
    """Write tensors as they come, a file whenever a shard is full, and return the bytes of all."""
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    pending_bytes = total = 0

    def flush() -> None:
        save_file(pending, folder / f"shard-{len(shards)}.safetensors", metadata={"format": "pt"})
        shards.append(list(pending))
        pending.clear()

    for name, tensor in tensors:
        if pending and pending_bytes + tensor.nbytes > SHARD_BYTES:
            flush()
            pending_bytes = 0
        pending[name] = tensor.contiguous()
        pending_bytes += tensor.nbytes
        total += tensor.nbytes
    flush()
    _name_shards(folder, shards, total)
    return total


def _name_shards(folder: Path, shards: list[list[str]], total: int) -> None:
    """Give shards the names that Hugging Face tools look for, now that their number is known."""
    if len(shards) == 1:
        (folder / "shard-0.safetensors").rename(folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for index, names in enumerate(shards):
        file = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        (folder / f"shard-{index}.safetensors").rename(folder / file)
        weight_map.update(dict.fromkeys(names, file))
    index_of: Mapping[str, Any] = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index_of, indent=2) + "\n", encoding="utf-8")
