"""The section `export`: the files that lilift writes for other tools."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lilift.recipe.schema.base_settings import Dtype, Settings

ExportFormat = Literal["hf", "gguf"]
Quantisation = Literal["f32", "bf16", "f16", "q8_0", "q4_0", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"]


class ExportSettings(Settings):
    """The files that lilift writes for other tools after training."""

    formats: tuple[ExportFormat, ...] = Field(
        ("hf",),
        description="hf: merged safetensors for Hugging Face tools. gguf: LLM, encoder and alignment layer for llama.cpp and "
        "Ollama. If the list is empty, lilift exports nothing.",
    )
    quantisations: tuple[Quantisation, ...] = Field(
        ("f16", "q8_0"),
        min_length=1,
        description="Types of the LLM's GGUF files; lilift writes one file for each. f16: 2 bytes per parameter. q8_0: 1.1 "
        "bytes. q4_k_m: 0.6 bytes. The quantiser of llama.cpp makes the K-quants (install `lilift[gguf]`).",
    )
    encoder_quantisation: Literal["f32", "bf16", "f16", "q8_0"] | None = Field(
        None,
        description="Type of the encoder's GGUF file. If you leave it out: the precision of training. mT5 overflows in f16.",
    )
    merge_base: Literal["dequantised", "original"] = Field(
        "dequantised",
        description="Weights that lilift merges the adapter into. dequantised: the NF4 weights that the adapter was trained "
        "with, converted back. original: the weights before quantisation.",
    )
    dtype: Dtype = Field("bfloat16", description="Number type of the merged safetensors files.")
    drift: bool = Field(
        True,
        description="Compare the exported files, and both merge bases, with the trained model. This loads the model once more.",
    )
