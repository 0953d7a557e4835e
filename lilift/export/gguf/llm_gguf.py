"""Writes LLMs as GGUF files, and reads their weights back: the tensors, their names and their form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFReader,
    GGUFWriter,
    RopeScalingType,
    TensorNameMap,
    get_tensor_name_map,
)
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
_GRAPHS = {name: graph for graph, name in MODEL_ARCH_NAMES.items()}


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
        self._file = StreamedGGUF(path, _metadata(self.config, self.name, self.vocabulary), self.tensors, self.quantisation)
        return self._file

    def begin(self) -> None:
        """Write the tensors that come from the configuration."""
        if self.config.rope_factors is not None and self._file is not None:
            self._file.write(_ROPE_FACTORS, self.config.rope_factors)

    def write(self, source: str, rows: Floats) -> None:
        """Write rows of one of the model's tensors, in the order of its files and in whole heads."""
        tensor = self._by_source.get(source)
        if tensor is not None and self._file is not None:
            self._file.write(tensor.name, _as_stored(self.config, source, rows))

    def restart(self, source: str) -> None:
        """Forget the rows of the tensor that is being written or was written last."""
        tensor = self._by_source.get(source)
        if tensor is not None and self._file is not None:
            self._file.restart(tensor.name)

    def _planned(self, shapes: Mapping[str, tuple[int, ...]], where: Path) -> list[PlannedTensor]:
        names = _names(self.config)
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
        by_gguf = _names(self._config)
        found = {name: by_gguf.get_name(name, try_suffixes=(".weight",)) for name in llm_weights(base).tensors}
        self.names = {
            name: stored for name, stored in found.items() if stored in self._tensors and name.endswith("_proj.weight")
        }

    def weight(self, name: str) -> Floats:
        """A layer's weight in float32, [out, in]."""
        tensor = self._tensors[self.names[name]]
        rows: Floats = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        return _as_in_model(self._config, name, rows.reshape(tuple(reversed(tensor.shape.tolist()))))


def _names(config: LLMConfiguration) -> TensorNameMap:
    """The names of GGUF for the tensors of a model."""
    return get_tensor_name_map(_GRAPHS[config.family.architecture], config.layers)


def _as_stored(config: LLMConfiguration, source: str, rows: Floats) -> Floats:
    """Rows of a weight, in whole heads, in the form that llama.cpp needs."""
    if config.family.adds_one_to_norms and source.endswith("norm.weight"):
        shifted: Floats = np.add(rows, 1, dtype=np.float32)
        return shifted
    if config.permutes(source):
        # The two halves of each head become neighbouring pairs.
        paired = rows.reshape(-1, 2, config.head_size // 2, *rows.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(paired).reshape(rows.shape)
    return rows


def _as_in_model(config: LLMConfiguration, source: str, rows: Floats) -> Floats:
    """Rows of a linear layer's weight in the form of the model: the inverse of `_as_stored`."""
    if config.permutes(source):
        halves = rows.reshape(-1, config.head_size // 2, 2, *rows.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(halves).reshape(rows.shape)
    return rows


def _metadata(config: LLMConfiguration, name: str, vocabulary: Vocabulary) -> GGUFWriter:
    """A GGUF writer with all metadata and no tensors."""
    content = config.content
    writer = GGUFWriter(None, config.family.architecture)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(content["intermediate_size"])
    writer.add_block_count(config.layers)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_vocab_size(config.vocabulary_size)
    writer.add_layer_norm_rms_eps(content["rms_norm_eps"])
    writer.add_rope_dimension_count(config.head_size)
    writer.add_rope_freq_base(config.rope["rope_theta"])
    if config.rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope["factor"])
    elif config.rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(config.rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(config.rope["original_max_position_embeddings"])
    if config.graph_has_window:
        writer.add_sliding_window(content["sliding_window"])
    if config.family.architecture == "gemma2":
        writer.add_attn_logit_softcapping(content["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(content["final_logit_softcapping"])
    vocabulary.add_to(writer)
    return writer
