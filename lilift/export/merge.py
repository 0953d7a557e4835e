"""Merges a LoRA adapter into its base model's weights, row by row.

The adapter was trained on top of the *dequantised NF4* weights. So lilift merges it into these, unless the user asks for the
original weights: it converts exactly the layers that were 4-bit in training to NF4 and back. Only one chunk of rows at a time
is in memory in full precision.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lilift.export.llm_folder import llm_weights
from lilift.export.safetensors_rows import WHOLE_NUMBERS, Floats, SafetensorsFolder, row_chunks
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import Dtype

_ADAPTER_PREFIX = "base_model.model."
_LORA_KEY = re.compile(r"^(?P<layer>.+)\.lora_(?P<half>[AB])\.weight$")


@dataclass(frozen=True)
class LowRankUpdate:
    """The change that LoRA adds to one weight: ``scale · B @ A``, with A [rank, in] and B [out, rank], read when needed."""

    weights: SafetensorsFolder
    a: str
    b: str
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that it changes: [out, in]."""
        return self.weights.shape(self.b)[0], self.weights.shape(self.a)[1]

    def added_to(self, chunks: Iterator[Floats]) -> Iterator[Floats]:
        """The rows of the weight with the change added."""
        a, b = self.weights.rows(self.a), self.weights.rows(self.b)
        start = 0
        for rows in chunks:
            rows += self.scale * (b[start : start + rows.shape[0]] @ a)
            start += rows.shape[0]
            yield rows


class MergedWeights:
    """A base model's weights with an adapter merged in.

    Args:
        base: a Hugging Face model folder with safetensors weights.
        adapter: a peft LoRA folder.
        quantized: whether the base model was NF4 in training.
        merge_base: ``dequantised`` or ``original``.
        compute_dtype: the precision in which the base model was loaded before quantisation.

    Raises:
        ModelError: weights are missing or incomplete, or a part of the adapter does not fit any weight of the base model.
    """

    def __init__(self, base: Path, adapter: Path, *, quantized: bool, merge_base: str, compute_dtype: Dtype) -> None:
        self.base = llm_weights(base)
        self.updates = read_adapter(adapter)
        self.quantised = quantised_layers(base) if quantized else frozenset()
        self.round_trip = self.quantised if merge_base == "dequantised" else frozenset()
        self._compute_dtype = compute_dtype
        self._check_fits(base, adapter)

    @property
    def changed(self) -> frozenset[str]:
        """The weights that differ from those of the live model, which has them in 4 bits or with a separate adapter."""
        return self.quantised | self.updates.keys()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor, in the order of the files."""
        return {name: stored.shape for name, stored in self.base.tensors.items()}

    @property
    def whole_numbers(self) -> dict[str, str]:
        """Tensors of integers or truth values, with the names that safetensors has for their types."""
        return {name: stored.kind for name, stored in self.base.tensors.items() if stored.kind in WHOLE_NUMBERS}

    def chunks(self, name: str, multiple: int = 1, *, halvings: int = 0) -> Iterator[Floats]:
        """A merged tensor in float32, chunk by chunk; see `row_chunks`. Integers and truth values keep their type."""
        read = self._dequantised if name in self.round_trip else self._original
        rows = read(name, multiple, halvings)
        return self.updates[name].added_to(rows) if name in self.updates else rows

    def _original(self, name: str, multiple: int, halvings: int) -> Iterator[Floats]:
        for start, stop in row_chunks(self.base.shape(name), multiple, halvings=halvings):
            yield self.base.rows(name, start, stop)

    def _dequantised(self, name: str, multiple: int, halvings: int) -> Iterator[Floats]:
        import torch

        from lilift.export.nf4 import rows_of_whole_blocks, through_nf4

        dtype = getattr(torch, self._compute_dtype)
        whole = math.lcm(multiple, rows_of_whole_blocks(self.base.shape(name)[-1]))
        weights = (torch.from_numpy(rows).to(dtype) for rows in self._original(name, whole, halvings))
        for chunk in through_nf4(weights):
            yield chunk.float().numpy()

    def _check_fits(self, base: Path, adapter: Path) -> None:
        remedy = "use the base model that the adapter was trained on"
        unknown = sorted(set(self.updates) - set(self.base.tensors))
        if unknown:
            raise ModelError(
                f"the adapter changes {unknown[0]!r}, which the base model in {base} does not have",
                where=adapter,
                remedy=remedy,
            )
        for name, update in self.updates.items():
            found, expected = update.shape, self.base.shape(name)
            if found != expected:
                raise ModelError(
                    f"the adapter for {name!r} fits a weight of shape {list(found)}, but the base model has {list(expected)}",
                    where=adapter,
                    remedy=remedy,
                )


def read_adapter(folder: Path) -> dict[str, LowRankUpdate]:
    """The low-rank updates of a peft LoRA folder, by the name of the weight that each belongs to.

    Raises:
        ModelError: the folder is not a plain LoRA adapter, or is incomplete.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"lilift cannot read the adapter ({error})", where=folder, remedy="train the transfer stage again"
        ) from None
    if config.get("use_dora") or config.get("peft_type") != "LORA" or config.get("fan_in_fan_out"):
        raise ModelError("lilift can only merge plain LoRA adapters", where=folder, remedy="train the transfer stage again")
    scale = config["lora_alpha"] / (config["r"] ** (0.5 if config.get("use_rslora") else 1.0))
    weights = SafetensorsFolder(folder)
    pairs: dict[str, dict[str, str]] = {}
    for key in weights.tensors:
        found = _LORA_KEY.match(key.removeprefix(_ADAPTER_PREFIX))
        if found is None:
            raise ModelError(
                f"lilift does not know the adapter's weight {key!r}", where=folder, remedy="train the transfer stage again"
            )
        pairs.setdefault(found["layer"] + ".weight", {})[found["half"]] = key
    for name, pair in pairs.items():
        if pair.keys() != {"A", "B"}:
            raise ModelError(
                f"half of the adapter for {name!r} is missing", where=folder, remedy="train the transfer stage again"
            )
    return {name: LowRankUpdate(weights, pair["A"], pair["B"], scale) for name, pair in pairs.items()}


def quantised_layers(base: Path) -> frozenset[str]:
    """Names of the weights that are 4-bit in training: those of every linear layer except the output head.

    Raises:
        ModelError: transformers does not understand the model's configuration.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModelForCausalLM

    from lilift.model.llms.llm import text_part
    from lilift.model.sources import loading

    with loading(str(base), what="LLM's configuration"), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text_part(AutoConfig.from_pretrained(base)))
    head = model.get_output_embeddings()
    return frozenset(
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    )
