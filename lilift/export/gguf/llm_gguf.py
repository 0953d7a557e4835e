"""Writes LLMs as GGUF files, and reads their weights back: the tensors, their names and their form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, get_tensor_name_map
from gguf.quants import dequantize

from lilift.export.gguf.gguf_vocabulary import Vocabulary
from lilift.export.gguf.gguf_writer import PlannedTensor, StreamedGGUF, planned_size, storage_type
from lilift.export.gguf.llm_configuration import LLMConfiguration
from lilift.export.llm_folder import llm_weights, read_config
from lilift.export.safetensors_rows import Floats
from lilift.recipe.errors import ModelError

_REMEDY = "export with --to hf"
_IGNORED = (".rotary_emb.inv_freq",)  # llama.cpp computes it from the configuration
_ROPE_FACTORS = "rope_freqs.weight"


class LLMFile:
    """The content of an LLM's GGUF file for one quantisation.

    Args:
        config: the model's configuration.
        shapes: its tensors.
        vocabulary: its tokens.
        quantisation: one of `lilift.export.gguf.gguf_writer.DIRECT`.
        name: the model's name in the file.
        where: the model's folder, for errors.

    Raises:
        ModelError: llama.cpp or lilift does not support the architecture or a setting.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        vocabulary: Vocabulary,
        quantisation: str,
        *,
        name: str,
        where: Path,
    ) -> None:
        self.config = LLMConfiguration(config, where)
        self.vocabulary = vocabulary
        self.quantisation = quantisation
        self.name = name
        self.tensors = self._planned(shapes, where)
        self._by_source = {tensor.source: tensor for tensor in self.tensors}
        self._file: StreamedGGUF | None = None

    @property
    def nbytes(self) -> int:
        return planned_size(self.tensors)

    @property
    def fallbacks(self) -> int:
        """How many weights are float16, because their rows are not a multiple of the quantisation's block size."""
        return sum(
            tensor.type == GGMLQuantizationType.F16 and self.quantisation not in ("f16", "f32", "bf16")
            for tensor in self.tensors
        )

    def open(self, path: Path) -> StreamedGGUF:
        """The file, ready to write."""
        self._file = StreamedGGUF(path, self.config.metadata(self.name, self.vocabulary), self.tensors, self.quantisation)
        return self._file

    def begin(self) -> None:
        """Write the tensors that come from the configuration."""
        if self.config.rope_factors is not None and self._file is not None:
            self._file.write(_ROPE_FACTORS, self.config.rope_factors)

    def write(self, source: str, rows: Floats) -> None:
        """Write rows of one of the model's tensors, in the order of its files and in whole heads."""
        tensor = self._by_source.get(source)
        if tensor is not None and self._file is not None:
            self._file.write(tensor.name, self.config.as_stored(source, rows))

    def restart(self, source: str) -> None:
        """Forget the rows of the tensor that is being written or was written last."""
        tensor = self._by_source.get(source)
        if tensor is not None and self._file is not None:
            self._file.restart(tensor.name)

    def _planned(self, shapes: Mapping[str, tuple[int, ...]], where: Path) -> list[PlannedTensor]:
        names = get_tensor_name_map(self.config.family.architecture, self.config.layers)
        planned = []
        if self.config.rope_factors is not None:
            planned.append(PlannedTensor(_ROPE_FACTORS, self.config.rope_factors.shape, GGMLQuantizationType.F32, ""))
        for source, shape in shapes.items():
            if source.endswith(_IGNORED) or (source == "lm_head.weight" and self.config.ties_embeddings):
                continue
            name = names.get_name(source, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise ModelError(f"GGUF has no name for the weight {source!r}", where=where, remedy=_REMEDY)
            shape = shape or (1,)  # GGUF has no scalars
            planned.append(PlannedTensor(name, shape, storage_type(self.quantisation, name, shape), source))
        return planned


class StoredLLM:
    """Reads the weights of an LLM back from its GGUF file, under their names in the original model.

    Attributes:
        names: the names of GGUF by the names of the model, for the weights of its linear layers.
    """

    def __init__(self, path: Path, base: Path) -> None:
        self._tensors = {tensor.name: tensor for tensor in GGUFReader(str(path)).tensors}
        self._config = LLMConfiguration(read_config(base), base)
        by_gguf = get_tensor_name_map(self._config.family.architecture, self._config.layers)
        found = {name: by_gguf.get_name(name, try_suffixes=(".weight",)) for name in llm_weights(base).tensors}
        self.names = {
            name: stored for name, stored in found.items() if stored in self._tensors and name.endswith("_proj.weight")
        }

    def weight(self, name: str) -> Floats:
        """A layer's weight in float32, [out, in]."""
        tensor = self._tensors[self.names[name]]
        rows: Floats = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        return self._config.as_in_model(name, rows.reshape(tuple(reversed(tensor.shape.tolist()))))
