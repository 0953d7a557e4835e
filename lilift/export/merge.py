"""Merges a LoRA adapter into its base model's weights, row by row.

The adapter was trained on top of the *dequantised NF4* weights. So lilift merges it into these, unless the user asks for the
original weights: it converts exactly the layers that were 4-bit in training to NF4 and back. Only one chunk of rows at a time
is in memory in full precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilift.export.adapter_updates import Adapter, read_adapter
from lilift.export.llm_folder import llm_weights, read_config
from lilift.export.safetensors_headers import WHOLE_NUMBERS
from lilift.export.safetensors_rows import Floats, row_chunks
from lilift.recipe.errors import ModelError
from lilift.recipe.schema import Dtype


class MergedWeights:
    """A base model's weights with an adapter merged in.

    Args:
        base: a Hugging Face model folder with safetensors weights.
        adapter: a peft LoRA folder.
        quantized: whether the base model was NF4 in training.
        merge_base: ``dequantised`` or ``original``.
        compute_dtype: the precision in which the base model was loaded before quantisation.

    Attributes:
        updates: what the adapter adds, by the names of the weights.
        quantised: the weights that were 4-bit in training.
        round_trip: the weights that go through 4 bits and back.
        transposed: the weights that are stored as [in, out].

    Raises:
        ModelError: weights are missing or incomplete, a part of the adapter does not fit any weight of the base model, or
            lilift cannot merge this kind of adapter; see `read_adapter`.
    """

    def __init__(self, base: Path, adapter: Path, *, quantized: bool, merge_base: str, compute_dtype: Dtype) -> None:
        self.base = llm_weights(base)
        found = read_adapter(adapter)
        self.updates = found.updates
        layers = read_layers(base) if quantized or not self._updates_fit() else Layers()
        for name in self.updates.keys() & layers.transposed:
            self.updates[name] = self.updates[name].transpose()
        self.transposed = layers.transposed
        self.quantised = layers.linear | layers.transposed if quantized else frozenset()
        self.round_trip = self.quantised if merge_base == "dequantised" else frozenset()
        self._compute_dtype = compute_dtype
        self._check_fits(base, adapter)
        self._check_copies(found, adapter)

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

    def _check_copies(self, found: Adapter, adapter: Path) -> None:
        """Refuse an adapter that replaces a weight. peft also saves unchanged embeddings, which are none of the adapter."""
        for name, key in found.copies.items():
            copy = found.weights.rows(key)
            fits = name in self.base and self.base.shape(name) == copy.shape
            # The copy has the precision of training, which may be bfloat16.
            if not fits or not np.allclose(self.base.rows(name), copy, rtol=2**-7, atol=0):
                raise ModelError(
                    f"the adapter has its own weight {name!r}, which is not that of the base model",
                    where=adapter,
                    remedy="merge it with peft's own `merge_and_unload`, or train the transfer stage again",
                )

    def _check_ties(self, base: Path, adapter: Path) -> None:
        """Refuse a change of only one of the two uses of tied embeddings, which share one weight in the merged model."""
        touched = [name for name in self.updates if name == "lm_head.weight" or name.endswith("embed_tokens.weight")]
        if touched and read_config(base).get("tie_word_embeddings", True):
            raise ModelError(
                f"the adapter changes {touched[0]!r}, but the LLM uses the same weight for its input and its output",
                where=adapter,
                remedy="train an adapter without `embed_tokens` and `lm_head`",
            )

    def _dequantised(self, name: str, multiple: int, halvings: int) -> Iterator[Floats]:
        import torch

        from lilift.export.nf4 import rows_of_whole_blocks, through_nf4

        dtype = getattr(torch, self._compute_dtype)
        if name in self.transposed:  # bitsandbytes quantises such a layer as [out, in], across all rows of the file
            columns = torch.from_numpy(self.base.rows(name)).to(dtype).T
            yield np.ascontiguousarray(torch.cat(list(through_nf4([columns]))).T.float().numpy())
            return
        whole = math.lcm(multiple, rows_of_whole_blocks(self.base.shape(name)[-1]))
        weights = (torch.from_numpy(rows).to(dtype) for rows in self._original(name, whole, halvings))
        for chunk in through_nf4(weights):
            yield chunk.float().numpy()

    def _updates_fit(self) -> bool:
        """Whether the shapes show that every layer is stored as [out, in]; square ones alone show nothing."""
        stored = [(self.shapes.get(name), update.shape) for name, update in self.updates.items()]
        return all(found == expected for found, expected in stored) and any(one != other for _, (one, other) in stored)

    def _check_fits(self, base: Path, adapter: Path) -> None:
        remedy = "use the base model that the adapter was trained on"
        self._check_ties(base, adapter)
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


@dataclass(frozen=True)
class Layers:
    """The names of the weights of a model's linear layers, except its output head: those that are 4-bit in training.

    Attributes:
        linear: layers with a weight [out, in].
        transposed: layers with a weight [in, out], as GPT-2 has them.
    """

    linear: frozenset[str] = frozenset()
    transposed: frozenset[str] = frozenset()


def read_layers(base: Path) -> Layers:
    """The linear layers of a model.

    Raises:
        ModelError: transformers does not understand the model's configuration.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    from lilift.model.llms.llm import text_part
    from lilift.model.sources import loading

    with loading(str(base), what="LLM's configuration"), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(text_part(AutoConfig.from_pretrained(base, trust_remote_code=False)))
    head = model.get_output_embeddings()

    def of_kind(kind: type[nn.Module]) -> frozenset[str]:
        found = ((name, module) for name, module in model.named_modules() if module is not head)
        return frozenset(f"{name}.weight" for name, module in found if isinstance(module, kind))

    return Layers(of_kind(nn.Linear), of_kind(Conv1D))
