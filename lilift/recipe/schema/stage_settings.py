"""The sections `align` and `transfer`: the two training stages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lilift.recipe.schema.base_settings import Settings

TrainedPart = Literal["alignment", "adapter"]
StageName = Literal["align", "transfer"]
Target = Literal["reconstruct", "respond"]


# Settings that decide how often a stage writes something down, or what is done beside it: its result does not depend on them.
WITHOUT_EFFECT_ON_RESULT = frozenset({"checkpoint_every", "keep_checkpoints", "log_every", "control"})


class StageSettings(Settings):
    """What the two training stages have in common."""

    skip: bool = Field(False, description="Leave this stage out.")
    trains: TrainedPart = Field("adapter", description="What learns: the alignment layer, or a LoRA adapter on the LLM.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data; stage 1 draws its word swaps anew in each.")
    max_steps: int | None = Field(None, ge=1, description="Stop after this many optimizer steps, whatever `epochs` says.")
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_ratio: float = Field(0.0, ge=0, lt=1, description="Share of the steps over which the learning rate rises from 0.")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw_8bit", description="adamw: 8 bytes a trained parameter. adamw_8bit: 2. paged: may spill to host memory."
    )
    tokens_per_step: int = Field(16384, ge=16, description="Tokens behind one optimizer step; gradients accumulate up to it.")
    tokens_per_micro_batch: int = Field(
        4096, ge=16, description="Tokens, padding included, in memory at once: the first thing to lower on a small card."
    )
    checkpoint_every: int = Field(200, ge=1, description="Optimizer steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Complete checkpoints kept while the stage runs.")
    log_every: int = Field(10, ge=1, description="Optimizer steps between two lines of metrics.")


def _target_weights(value: object) -> object:
    return {value: 1.0} if isinstance(value, str) else value


class AlignSettings(StageSettings):
    """Stage 1, language alignment: only the alignment layer learns."""

    trains: TrainedPart = Field("alignment", description="What learns: the alignment layer, or a LoRA adapter on the LLM.")
    learning_rate: float = Field(6e-4, gt=0)
    target: Annotated[dict[Target, Annotated[float, Field(gt=0)]], BeforeValidator(_target_weights)] = Field(
        {"reconstruct": 1.0},
        min_length=1,
        description="What the LLM is to say of a code-switched question: the English question (`reconstruct`), its English "
        "response (`respond`), or a mix: {reconstruct: 0.8, respond: 0.2}.",
    )

    texts: tuple[Literal["switched", "english", "translated"], ...] = Field(
        ("switched",),
        min_length=1,
        description="What the encoder reads: English with words switched, English as it is, texts of `data.translations`, or "
        "several of these.",
    )


class LoraSettings(Settings):
    """The adapter that stage 2 trains on the 4-bit LLM."""

    rank: int = Field(16, ge=1, le=1024)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Field("all-linear", description="Layer names, or `all-linear`.")


class TransferSettings(StageSettings):
    """Stage 2, task transfer: LoRA on English instructions, the alignment layer frozen."""

    learning_rate: float = Field(2e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    texts: tuple[Literal["english", "translated"], ...] = Field(
        ("english",),
        min_length=1,
        description="Questions of the instructions, those of `data.translations` that have a response, or both.",
    )
    lora: LoraSettings = Field(default_factory=LoraSettings)
    control: bool = Field(
        False,
        description="Also train stage 2 on an unaligned layer and evaluate it, to show what stage 1 brings. Twice the time.",
    )
