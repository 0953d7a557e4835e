"""The sections `encoder`, `llm` and `alignment`: the two models and the layer between them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lilift.recipe.schema.base_settings import Dtype, Settings

AlignmentKind = Literal["ffn", "linear", "latent"]
Layout = Literal["soft", "soft+text", "text"]


class EncoderSettings(Settings):
    """The frozen multilingual encoder."""

    model: str = Field(
        description="A folder, a hub name, or `stand-in:encoder`. `none`: there is no bridge, the LLM reads questions itself "
        "(alignment.layout: text), as baselines do."
    )
    revision: str | None = Field(None, description="Commit, tag or branch on the hub; pin it to be able to repeat a run.")
    dtype: Dtype = Field("bfloat16", description="Precision of the frozen encoder. mT5 overflows in float16.")
    quantization: Literal["nf4", "none"] = Field(
        "none",
        description="none: the full `dtype`. nf4: 4 bits, 1.2 GiB less for mT5-xl; its states lose precision, so evaluate "
        "with the setting of training.",
    )
    placement: Literal["resident", "cached-ram", "cached-disk"] = Field(
        "resident",
        description="resident: on the card all the time. cached-ram: in host memory, and on the card only to read the texts of "
        "the next few thousand rows. cached-disk: all texts of a phase are read before the LLM is loaded, and their states "
        "kept on the disk (4 KiB a token for mT5-xl). Both free the card of the encoder while the LLM works.",
    )
    cache_gib: float = Field(
        100, gt=0, description="Room for cached states, in GiB; what does not fit is read anew when it is needed."
    )
    add_embeddings: bool = Field(
        False, description="Add the encoder's own token embeddings to its output states. Helps small encoders; free."
    )
    max_tokens: int = Field(1024, ge=8, description="Longest source text in encoder tokens; see data.over_length.")


class LLMSettings(Settings):
    """The decoder that learns to read the aligned states."""

    model: str = Field(description="A folder, a hub name, or `stand-in:llm`.")
    revision: str | None = Field(None, description="Commit, tag or branch on the hub; pin it to be able to repeat a run.")
    quantization: Literal["nf4", "none"] = Field(
        "nf4", description="nf4: about 0.52 bytes a parameter (bitsandbytes, double quantisation). none: the full `dtype`."
    )
    dtype: Dtype = Field("bfloat16", description="Precision of computation and of what is not quantised.")
    backend: Literal["auto", "transformers", "unsloth"] = Field(
        "auto",
        description="What trains the LLM. auto: transformers. unsloth: its kernels, if installed (`lilift[unsloth]`); "
        "experimental. Evaluation always uses transformers.",
    )
    gradient_checkpointing: bool | Literal["offload"] = Field(
        True,
        description="true: recompute activations in the backward pass: about a quarter slower, a third of the memory. offload: "
        "what is kept for it (one hidden state a layer) waits in host memory too; slower by what the copies take.",
    )
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model. Off unless you read it.")


class AlignmentSettings(Settings):
    """The language alignment layer between encoder and LLM."""

    kind: AlignmentKind = Field(
        "ffn", description="ffn: the paper's two-layer network. linear: LangBridge's. latent: a Perceiver resampler."
    )
    layout: Layout = Field(
        "soft",
        description="soft: the LLM sees only the aligned states. soft+text: the question's own tokens follow them. text: those "
        "alone, without an encoder.",
    )
    expansion: int = Field(2, ge=1, le=16, description="Hidden width of `ffn`, in multiples of the encoder's width.")
    latents: int = Field(64, ge=1, le=1024, description="Number of soft tokens of `latent`, whatever the text's length.")
    normalize: bool = Field(
        True,
        description="Keep the layer's vectors at the size of the LLM's embeddings, which the paper does not; without it they "
        "outgrow what the LLM can work with.",
    )
