"""The sections `align` and `transfer`: the two training stages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lilift.recipe.schema.base_settings import Settings

TrainedPart = Literal["alignment", "adapter"]
StageName = Literal["align", "transfer"]
Target = Literal["reconstruct", "respond"]

# These settings decide how often a stage saves or logs, or what lilift trains beside it. The stage's result does not depend on
# them, so a run may continue after you change them.
WITHOUT_EFFECT_ON_RESULT = frozenset(
    {"checkpoint_every", "keep_checkpoints", "log_every", "control", "dequantize", "freed_memory"}
)

_LEARNING_RATE = "Learning rate after the warm-up."
_SCHEDULE = "The learning rate after the warm-up. constant: it stays. cosine: it falls to 0 along a cosine."
_WARMUP_RATIO = "Share of the optimizer steps, 0 to 1, in which the learning rate rises from 0."
_TRAINS = "The part that learns. alignment: the alignment layer. adapter: a LoRA adapter on the LLM."


class StageSettings(Settings):
    """What the two training stages have in common."""

    skip: bool = Field(False, description="Leave this stage out.")
    trains: TrainedPart = Field("adapter", description=_TRAINS)
    epochs: float = Field(
        1.0, gt=0, le=10_000, description="Passes over the training data. Stage 1 draws new word swaps in each pass."
    )
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimizer steps, even if `epochs` would need more."
    )
    learning_rate: float = Field(gt=0, le=100, description=_LEARNING_RATE)
    schedule: Literal["constant", "cosine"] = Field("constant", description=_SCHEDULE)
    warmup_ratio: float = Field(0.0, ge=0, lt=1, description=_WARMUP_RATIO)
    weight_decay: float = Field(
        0.0, ge=0, description="Weight decay of AdamW. It applies to matrices only, not to biases and other vectors."
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="Largest norm of the gradient of one step. lilift scales larger gradients down to it."
    )
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw_8bit",
        description="adamw: 8 bytes of memory per trained parameter. adamw_8bit: 2 bytes. paged_adamw_8bit: 2 bytes, which may "
        "move to host memory when the card is full.",
    )
    tokens_per_step: int = Field(
        16384,
        ge=16,
        description="Tokens per optimizer step, without padding, about. lilift adds up the gradients of several micro-batches "
        "to reach this number.",
    )
    tokens_per_micro_batch: int = Field(
        4096,
        ge=16,
        description="Tokens in memory at once, padding included. On a small card, lower this setting first.",
    )
    freed_memory: Literal["keep", "return"] = Field(
        "keep",
        exclude_if=lambda freed: freed == "keep",  # runs without this setting keep their fingerprint
        description="On a CPU with Linux. keep: memory that a step frees stays with the process for the next step. return: it "
        "goes back to the system at once, so that the stage takes less memory and longer steps.",
    )
    checkpoint_every: int = Field(200, ge=1, description="Optimizer steps between two checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Number of complete checkpoints that lilift keeps during the stage.")
    log_every: int = Field(10, ge=1, description="Optimizer steps between two lines of metrics.")


TargetWeights = Annotated[dict[Target, Annotated[float, Field(gt=0)]], Field(min_length=1)]


def _target_weights(value: object) -> object:
    """Accept a single target where a mapping from targets to weights is meant."""
    return {value: 1.0} if isinstance(value, str) else value


class AlignSettings(StageSettings):
    """Stage 1, language alignment: only the alignment layer learns."""

    trains: TrainedPart = Field("alignment", description=_TRAINS)
    learning_rate: float = Field(6e-4, gt=0, le=100, description=_LEARNING_RATE)
    target: Annotated[TargetWeights, BeforeValidator(_target_weights, json_schema_input_type=Target | TargetWeights)] = Field(
        {"reconstruct": 1.0},
        description="What the LLM learns to write for a code-switched question. reconstruct: the English question. respond: "
        "its English response. For a mix, give weights: {reconstruct: 0.8, respond: 0.2}.",
    )

    texts: tuple[Literal["switched", "english", "translated", "monolingual"], ...] = Field(
        ("switched",),
        min_length=1,
        description="What the encoder reads; you can give several. switched: English questions with some words replaced by "
        "translations. english: English questions as they are. translated: the texts of `data.translations`. monolingual: the "
        "texts of `data.monolingual`, which the LLM itself reads and learns to continue (continued pretraining); it needs "
        "`trains: adapter` and no encoder, and stands alone.",
    )

    learns_end: bool = Field(
        True,
        exclude_if=lambda learns: learns,  # runs without this setting keep their fingerprint
        description="Whether the targets of this stage end with the LLM's end-of-sequence token. The LLM is frozen here. If it "
        "never ends a text after the words of your template, the layer spends its first steps on that token. Stage 2 teaches "
        "the LLM to end in any case.",
    )


class LoraSettings(Settings):
    """The LoRA adapter that stage 2 trains on the 4-bit LLM."""

    rank: int = Field(
        16, ge=1, le=1024, description="Rank of the adapter's matrices. A higher rank learns more and needs more memory."
    )
    alpha: float = Field(32, gt=0, description="Scale of the adapter: lilift multiplies its output by alpha / rank.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the adapter's inputs, 0 to 1, that are set to zero at random in training."
    )
    target_modules: str | tuple[str, ...] = Field(
        "all-linear", description="Names of the LLM's layers that get an adapter. `all-linear`: all linear layers but the head."
    )


class LayerSwapSettings(Settings):
    """How lilift combines the adapters of both stages, layer by layer (arXiv 2410.01335)."""

    bottom: int = Field(
        5, ge=0, description="Number of the LLM's first layers whose adapter comes from stage 1. The paper has 5 of 32."
    )
    top: int = Field(
        2, ge=0, description="Number of the LLM's last layers whose adapter comes from stage 1. The paper has 2 of 32."
    )
    transition: int = Field(
        1,
        ge=0,
        description="Number of layers on the inner side of each of the two zones that get the mean of both adapters. The "
        "paper has 1.",
    )

    @model_validator(mode="after")
    def _takes_layers(self) -> LayerSwapSettings:
        if self.bottom + self.top == 0:
            raise ValueError("bottom and top are both 0, so no layer comes from stage 1; leave layer_swap out")
        return self


class TransferSettings(StageSettings):
    """Stage 2, task transfer: a LoRA adapter learns from English instructions, and the alignment layer is frozen."""

    learning_rate: float = Field(2e-4, gt=0, le=100, description=_LEARNING_RATE)
    schedule: Literal["constant", "cosine"] = Field("cosine", description=_SCHEDULE)
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description=_WARMUP_RATIO)
    texts: tuple[Literal["english", "translated"], ...] = Field(
        ("english",),
        min_length=1,
        description="The questions of this stage; you can give both. english: those of `data.instructions`. translated: the "
        "texts of `data.translations` that have a response.",
    )
    lora: LoraSettings = Field(default_factory=LoraSettings)
    layer_swap: LayerSwapSettings | None = Field(
        None,
        exclude_if=lambda swap: swap is None,  # runs without this setting keep their fingerprint
        description="Train a new adapter in this stage instead of continuing that of stage 1, and combine the two: the LLM's "
        "bottom and top layers get the adapter of stage 1 (the language), the middle layers that of stage 2 (the task), and "
        "the layers between them the mean. `{}` takes the paper's numbers of layers.",
    )
    control: bool = Field(
        False,
        description="Also run stage 2 on an alignment layer that stage 1 did not train, and evaluate the result. This shows "
        "what stage 1 adds, and takes twice the time.",
    )
