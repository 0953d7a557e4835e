"""Writes the alignment layer as a small GGUF file with its own architecture name; llama.cpp cannot run it."""

from __future__ import annotations

from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter

from lilift.export.gguf.gguf_writer import PlannedTensor, StreamedGGUF
from lilift.export.safetensors_rows import SafetensorsFolder
from lilift.model.alignment_layer import window_size
from lilift.recipe.schema import AlignmentSettings

ARCHITECTURE = "lilift-alignment"
GGUF_VERSION = 1
PREPARING_VERSION = 2
"""The version of files whose reader must average or scale states first. Older lilifts refuse it."""


def write_alignment(source: Path, settings: AlignmentSettings, path: Path) -> None:
    """Write a trained alignment layer in float32; its tensors keep their names from `alignment.safetensors`.

    Args:
        source: the folder that holds `alignment.safetensors`.
        settings: the kind of the layer.
        path: the GGUF file.

    Raises:
        ModelError: the weights cannot be read.
    """
    weights = SafetensorsFolder(source)
    output_rows = weights.shape("output.weight")[0]
    input_size = weights.shape("queries")[1] if settings.kind == "latent" else _encoder_size(weights)
    writer = GGUFWriter(None, ARCHITECTURE)
    writer.add_type("lilift-alignment")
    writer.add_name("language alignment layer")
    pool = window_size(settings)
    prepares = pool > 1 or settings.scale_states
    writer.add_uint32(f"{ARCHITECTURE}.version", PREPARING_VERSION if prepares else GGUF_VERSION)
    writer.add_string(f"{ARCHITECTURE}.kind", settings.kind)
    writer.add_uint32(f"{ARCHITECTURE}.encoder_size", input_size)
    writer.add_uint32(f"{ARCHITECTURE}.llm_size", output_rows)
    if pool > 1:
        writer.add_uint32(f"{ARCHITECTURE}.pool", pool)
    if settings.scale_states:
        writer.add_bool(f"{ARCHITECTURE}.scale_states", True)
    tensors = [
        PlannedTensor(name, weights.shape(name) or (1,), GGMLQuantizationType.F32, name) for name in sorted(weights.tensors)
    ]
    with StreamedGGUF(path, writer, tensors, "f32").opened() as file:
        for tensor in tensors:
            file.write(tensor.name, weights.rows(tensor.source))


def _encoder_size(weights: SafetensorsFolder) -> int:
    return weights.shape("hidden.weight" if "hidden.weight" in weights else "output.weight")[1]
