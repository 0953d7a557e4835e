"""The sections `encoder`, `llm` and `alignment`: the two models and the layer between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lilift.recipe.language_groups import by_language
from lilift.recipe.schema.base_settings import Dtype, Settings, location_of, none_as_nothing, one_for_all

AlignmentKind = Literal["ffn", "linear", "latent"]
Layout = Literal["soft", "soft+text", "text"]
EncoderLayers = Literal["last", "mix"]


class AdaptSettings(Settings):
    """The short training of the encoder on running text, before stage 1."""

    text: Annotated[dict[str, str], BeforeValidator(one_for_all, json_schema_input_type=str | dict[str, str])] = Field(
        min_length=1,
        description="Text files in the languages that the encoder has not read: a mapping from language to file, or one path "
        "with `{language}` in it, for all languages of the recipe. A line is a sentence or a paragraph. The files may be "
        "compressed. A few thousand lines are enough to begin with.",
    )
    steps: int = Field(
        300, ge=1, description="Optimizer steps of the adaptation. Each step reads about 1,000 tokens, half of them English."
    )
    rank: int = Field(16, ge=1, le=1024, description="Rank of the LoRA adapter's matrices; its scale is twice the rank.")
    learning_rate: float = Field(
        5e-4, gt=0, le=100, description="Largest learning rate of the adaptation. It falls to 0 along a cosine."
    )

    def file_of(self, language: str) -> str | None:
        """The place of the text of `language`, or None if there is none."""
        return location_of(self.text, language)


class EncoderSettings(Settings):
    """The frozen multilingual encoder, which reads the questions."""

    model: str = Field(
        description="A folder, a name on the Hugging Face hub, or `stand-in:encoder` (a small model that comes with lilift). "
        "`none`: no encoder and no alignment layer; the LLM reads the questions itself, as in the baselines. `none` needs "
        "`alignment.layout: text`."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of the model on the hub. Set a commit so that you can repeat the run exactly."
    )
    dtype: Dtype = Field("bfloat16", description="Number type of the frozen encoder. mT5 overflows in float16.")
    quantization: Literal["nf4", "none"] = Field(
        "none",
        description="none: full precision (`encoder.dtype`). nf4: 4 bits, which saves 1.2 GiB for mT5-xl. The encoder's states "
        "lose precision with nf4, so evaluate with the same setting that you train with.",
    )
    placement: Literal["resident", "cached-ram", "cached-disk"] = Field(
        "resident",
        description="resident: the encoder stays on the card. cached-ram: it waits in host memory, and moves to the card only "
        "to read the texts of the next few thousand rows. cached-disk: it reads all texts of a phase before lilift loads the "
        "LLM, and lilift keeps its states on disk (4 KiB per token for mT5-xl). cached-ram and cached-disk free the encoder's "
        "memory on the card while the LLM works.",
    )
    cache_gib: float = Field(
        100,
        gt=0,
        description="Largest size of the cached encoder states, in GiB. The encoder reads the texts that do not fit again each "
        "time they are needed.",
    )
    add_embeddings: bool = Field(
        False,
        description="Add the encoder's own token embeddings to its output states. This helps small encoders and is free.",
    )
    prefix: str = Field(
        "",
        exclude_if=lambda prefix: not prefix,  # runs without this setting keep their fingerprint
        description="Words that lilift puts before every text that the encoder reads. Models of the E5 family need `query: `. "
        "The words count in `encoder.max_tokens`. If a text is too long, lilift cuts the text and keeps the prefix.",
    )
    max_tokens: int = Field(
        1024,
        ge=8,
        description="Longest text for the encoder, in encoder tokens. `data.over_length` decides what happens to longer texts.",
    )
    language_codes: Annotated[dict[str, str], BeforeValidator(by_language)] = Field(
        {},
        exclude_if=lambda codes: not codes,  # runs without this setting keep their fingerprint
        description="For encoders that are told the language of each text (NLLB, M2M100, mBART): the code that the encoder's "
        "tokenizer uses for a language, such as `{ln: lin_Latn}`. lilift finds these codes itself. Set one for a language that "
        "the encoder does not know, for example the code of a related language. Without it the encoder is told English.",
    )
    adapt: Annotated[AdaptSettings | None, BeforeValidator(none_as_nothing)] = Field(
        None,
        exclude_if=lambda adapt: adapt is None,  # runs without this setting keep their fingerprint
        description="Train the encoder itself before stage 1, on running text in languages that it has never read: it fills in "
        "masked tokens, as in its own pretraining. A LoRA adapter learns this and is merged into a copy of the encoder in the "
        "run folder, which every later phase uses. Half of the text is English, from `data.instructions`, so that the encoder "
        "forgets less of it. An encoder that has read the languages does not need this. `none`, or if you leave it out: the "
        "encoder stays as it is.",
    )


class LLMSettings(Settings):
    """The decoder, which learns to read the aligned states."""

    model: str = Field(
        description="A folder, a name on the Hugging Face hub, or `stand-in:llm` (a small model that comes with lilift)."
    )
    revision: str | None = Field(
        None, description="Commit, tag or branch of the model on the hub. Set a commit so that you can repeat the run exactly."
    )
    quantization: Literal["nf4", "none"] = Field(
        "nf4",
        description="nf4: 4 bits, about 0.52 bytes per parameter (bitsandbytes with double quantisation). none: full precision "
        "(`llm.dtype`).",
    )
    dtype: Dtype = Field(
        "bfloat16", description="Number type in which the LLM computes, and of the weights that are not quantised."
    )
    backend: Literal["auto", "transformers", "unsloth"] = Field(
        "auto",
        description="The library that trains the LLM. auto: transformers. unsloth: the kernels of unsloth, if you installed "
        "`lilift[unsloth]`; experimental. Evaluation always uses transformers.",
    )
    kernels: Literal["auto", "torch", "liger"] = Field(
        "auto",
        exclude_if=lambda kernels: kernels == "auto",  # runs without this setting keep their fingerprint
        description="Who computes the LLM's norms, rotary embeddings and gated activations in training. liger: the kernels of "
        "Liger, on an NVIDIA GPU, if you installed `lilift[liger]`. torch: torch's own operators. auto: liger where it works, "
        "else torch. Results differ by rounding alone.",
    )
    gradient_checkpointing: bool | Literal["offload"] = Field(
        True,
        description="true: compute the activations again in the backward pass; training is about a quarter slower and needs a "
        "third of their memory. offload: as true, and what remains of them (one hidden state per layer) waits in host memory; "
        "slower by the time of the copies. false: keep all activations.",
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with the model. Keep it off unless you have read that code."
    )


class AlignmentSettings(Settings):
    """The language alignment layer, which turns encoder states into soft tokens for the LLM."""

    kind: AlignmentKind = Field(
        "ffn",
        description="ffn: the two-layer network of the LinguaLIFT paper. linear: one linear layer, as in LangBridge. latent: a "
        "Perceiver resampler, which gives a fixed number of soft tokens.",
    )
    layout: Layout = Field(
        "soft",
        description="soft: the LLM sees only the aligned states. soft+text: the LLM sees the aligned states, then the "
        "question's own tokens; rows are longer and need more memory. text: the LLM sees only the question's own tokens, for "
        "recipes without an encoder.",
    )
    expansion: int = Field(2, ge=1, le=16, description="Hidden width of the `ffn` layer, as a multiple of the encoder's width.")
    latents: int = Field(
        64, ge=1, le=1024, description="Number of soft tokens that a `latent` layer gives for a text of any length."
    )
    layers: EncoderLayers = Field(
        "last",
        exclude_if=lambda layers: layers == "last",  # runs without this setting keep their fingerprint
        description="Which of the encoder's states the layer reads. last: the states after its last layer. mix: a weighted "
        "mean of the token embeddings and the states after every layer, all scaled to the same size. lilift learns the weights "
        "together with the layer. The states then need more memory, also on the disk with `encoder.placement: cached-disk`: "
        "13 times as much for an encoder of 12 layers. llama.cpp gives only the last states, so lilift cannot export mix as "
        "GGUF.",
    )
    pool: Annotated[int, Field(ge=1)] | Literal["text"] = Field(
        1,
        exclude_if=lambda pool: pool == 1,  # runs without this setting keep their fingerprint
        description="How many neighbouring encoder states a `linear` or `ffn` layer averages into one soft token, at most. 1: "
        "every state becomes a soft token. `text`: all of them, so that a text becomes one soft token. Fewer soft tokens cost "
        "less, but one soft token cannot hold a question with several numbers or names.",
    )
    scale_states: bool = Field(
        False,
        exclude_if=lambda scale: not scale,  # runs without this setting keep their fingerprint
        description="Scale every encoder state to size 1 before the layer reads it. Some encoders have small states, such as "
        "0.26 in multilingual-e5-small, so that an optimizer step changes the layer's output less. The one trial so far saw no "
        "effect.",
    )
    normalize: bool = Field(
        True,
        description="Scale the layer's vectors to the size of the LLM's embeddings. The LinguaLIFT paper does not do this. "
        "Without it the vectors grow until the LLM cannot use them.",
    )
