"""The section `export`: the files that lilift writes for other tools."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lilift.recipe.schema.base_settings import Dtype, Settings

ExportFormat = Literal["hf", "gguf"]
Quantisation = Literal["f32", "bf16", "f16", "q8_0", "q4_0", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"]


class ExportSettings(Settings):
    """What to take away."""

    formats: tuple[ExportFormat, ...] = Field(
        ("hf",),
        description="hf: merged safetensors for Hugging Face tools. gguf: LLM, encoder and alignment layer for llama.cpp and "
        "Ollama. Empty: nothing is exported.",
    )
    quantisations: tuple[Quantisation, ...] = Field(
        ("f16", "q8_0"),
        min_length=1,
        description="GGUF files of the LLM, one each. f16: 2 bytes a parameter. q8_0: 1.1. q4_k_m: 0.6; K-quants are "
        "made by llama.cpp's quantiser (`lilift[gguf]`).",
    )
    encoder_quantisation: Literal["f32", "bf16", "f16", "q8_0"] | None = Field(
        None, description="The encoder's GGUF file. Left out: the precision it has in training. mT5 overflows in f16."
    )
    merge_base: Literal["dequantised", "original"] = Field(
        "dequantised",
        description="Weights the adapter is merged into: those it was trained against (dequantised NF4), or the originals.",
    )
    dtype: Dtype = Field("bfloat16", description="Precision of the merged safetensors on disk.")
    drift: bool = Field(
        True, description="Compare what was written, and both merge bases, with the live model; loads it once more."
    )
