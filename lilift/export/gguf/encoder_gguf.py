"""Writes encoders of T5, mT5 and umT5 as GGUF files for llama.cpp's `t5encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map

from lilift.export.gguf.encoder_configuration import REMEDY, check_encoder
from lilift.export.gguf.gguf_vocabulary import Vocabulary
from lilift.export.gguf.gguf_writer import PlannedTensor, StreamedGGUF, planned_size, storage_type
from lilift.export.llm_folder import config_content
from lilift.export.safetensors_rows import SafetensorsFolder, row_chunks
from lilift.recipe.errors import ModelError

_EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")


class EncoderFile:
    """The content of a T5 encoder's GGUF file.

    Args:
        folder: the model's folder.
        vocabulary: its tokens.
        quantisation: ``f32``, ``bf16``, ``f16`` or ``q8_0``.
        shapes: its tensors, where only a check is wanted and the folder holds no weights.

    Raises:
        ModelError: llama.cpp cannot run this encoder, or lilift does not know how to write it.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        quantisation: str,
        *,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.config = config_content(folder)
        check_encoder(self.config, folder)
        self.vocabulary = vocabulary
        self.quantisation = quantisation
        self.folder = folder
        self.tensors = self._planned(SafetensorsFolder(folder).shapes if shapes is None else shapes)

    @property
    def nbytes(self) -> int:
        return planned_size(self.tensors)

    def write(self, path: Path) -> None:
        """Write the file, row by row."""
        weights = SafetensorsFolder(self.folder)
        with StreamedGGUF(path, self._metadata(), self.tensors, self.quantisation).opened() as file:
            for tensor in self.tensors:
                for start, stop in row_chunks(tensor.shape):
                    file.write(tensor.name, weights.rows(tensor.source, start, stop))

    def _planned(self, shapes: Mapping[str, tuple[int, ...]]) -> list[PlannedTensor]:
        names = get_tensor_name_map(MODEL_ARCH.T5ENCODER, self.config["num_layers"])
        planned: dict[str, PlannedTensor] = {}
        for source, shape in shapes.items():
            if source.startswith("decoder.") or source == "lm_head.weight":
                continue
            name = names.get_name("shared.weight" if source in _EMBEDDINGS else source, try_suffixes=(".weight",))
            if name is None:
                raise ModelError(f"GGUF has no name for the weight {source!r}", where=self.folder, remedy=REMEDY)
            shape = shape or (1,)
            # The file may hold the embeddings twice, once for each half of an encoder-decoder.
            planned.setdefault(name, PlannedTensor(name, shape, storage_type(self.quantisation, name, shape), source))
        return list(planned.values())

    def _metadata(self) -> GGUFWriter:
        config = self.config
        writer = GGUFWriter(None, "t5encoder")
        writer.add_type("model")
        writer.add_name("multilingual encoder")
        writer.add_context_length(config.get("n_positions", 512))  # T5 uses distances, so texts of any length are possible
        writer.add_embedding_length(config["d_model"])
        writer.add_feed_forward_length(config["d_ff"])
        writer.add_block_count(config["num_layers"])
        writer.add_head_count(config["num_heads"])
        writer.add_key_length(config["d_kv"])
        writer.add_value_length(config["d_kv"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
        writer.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
        self.vocabulary.add_to(writer)
        return writer
