"""What a recipe can say.

One model per section of the YAML file; an unknown key, a wrong type or a contradiction is refused. Descriptions here are what
editors show (`recipes/recipe.schema.json` is made from them), so they tell what a setting does to memory, speed or accuracy.

`lilift.recipe.names.local_paths` decides whether a text means a file or folder, or a name on the Hugging Face hub.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from lilift.recipe.language_groups import by_language, expand_languages
from lilift.recipe.names.local_paths import fill_language
from lilift.recipe.template_file import read_template

AlignmentKind = Literal["ffn", "linear", "latent"]
Layout = Literal["soft", "soft+text", "text"]
TrainedPart = Literal["alignment", "adapter"]
StageName = Literal["align", "transfer"]
Target = Literal["reconstruct", "respond"]
Dtype = Literal["float32", "bfloat16", "float16"]
OverLength = Literal["drop", "truncate", "error"]
ExportFormat = Literal["hf", "gguf"]
Quantisation = Literal["f32", "bf16", "f16", "q8_0", "q4_0", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"]
Card = Literal["cpu", "8gb", "12gb", "16gb", "24gb"]


class Settings(BaseModel):
    """A section of a recipe: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, validate_default=True)


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


class ColumnSettings(Settings):
    """Names of the columns of an instruction file, where they are not recognised by themselves."""

    question: str
    response: str
    answer: str | None = None


class InstructionSettings(Settings):
    """English problems with responses: all that stage 2 needs."""

    source: str = Field(description="`world` (generated), a file or folder (jsonl, json, parquet, csv), or a hub name.")
    revision: str | None = Field(None, description="Commit, tag or branch on the hub.")
    split: str = Field("train", description="Split of a hub data set.")
    columns: ColumnSettings | None = Field(None, description="Column names; recognised by themselves when left out.")
    limit: int | None = Field(None, ge=1, description="Use at most this many examples.")


Share = Annotated[float, Field(ge=0, le=1)]


class ShareRange(Settings):
    """A share drawn evenly between two limits."""

    min: Share
    max: Share

    @model_validator(mode="after")
    def _in_order(self) -> ShareRange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


ShareList = Annotated[tuple[Share, ...], Field(min_length=1)]


def _one_as_list(value: object) -> object:
    """Accept a single number where a list of them is meant."""
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _list_or_range(value: object) -> str:
    return "range" if isinstance(value, (dict, ShareRange)) else "list"


class CodeSwitchingSettings(Settings):
    """How English words are swapped for translations in stage 1."""

    ratios: Annotated[
        Annotated[ShareList, Tag("list")] | Annotated[ShareRange, Tag("range")],
        Discriminator(_list_or_range),
        BeforeValidator(_one_as_list, json_schema_input_type=Share | ShareList | ShareRange),
    ] = Field(
        (0.3, 0.6, 0.9),
        description="Share of translatable words swapped, drawn anew for each example and epoch: a number, a list to draw "
        "from, or a range such as {min: 0.2, max: 0.8}.",
    )
    mixed: Share = Field(
        0.0, description="Share of examples that mix all the languages, each word's drawn by itself; the others have one each."
    )
    shuffle: float = Field(
        0.0, ge=0, le=1, description="Share of examples whose words are also moved about within the sentence. Not in the paper."
    )


def _one_for_all(value: object) -> object:
    """Accept one text for every language where a mapping by language is meant."""
    return {"*": value} if isinstance(value, str) else by_language(value)


TemplateName = Literal["plain", "metamath", "alpaca", "chat"]


class TemplateSettings(Settings):
    """A prompt template of the recipe's own."""

    before: str = Field("", description="Before the question, where the LLM sees its text (layout soft+text).")
    after: str = Field("\n", description="Between the question's text and the opener.")
    respond: str = Field(min_length=1, description="The last words before a response, such as `Answer:`.")
    reconstruct: str = Field("English:", min_length=1, description="The last words before the English question, in stage 1.")

    @model_validator(mode="after")
    def _openers_end_without_a_space(self) -> TemplateSettings:
        for name in ("respond", "reconstruct"):
            if getattr(self, name)[-1].isspace():
                raise ValueError(f"{name} ends with a space or line break: leave it out, a space before the target is added")
        return self


class DataSettings(Settings):
    """What both stages learn from."""

    instructions: InstructionSettings
    translations: Annotated[dict[str, str], BeforeValidator(_one_for_all)] = Field(
        {},
        description="English texts with their translations, per language or one path with `{language}`, for methods that learn "
        "from parallel data (align.texts, transfer.texts). LinguaLIFT needs none.",
    )
    lexicons: Annotated[dict[str, str], BeforeValidator(_one_for_all)] = Field(
        {},
        description="A folder of lexicons (`lilift lexicon`), or a dictionary per language (MUSE, GATITOS, TSV; may be "
        "gzipped), or one path with `{language}`, or `world`.",
    )
    template: Annotated[
        Annotated[TemplateName, Tag("name")] | Annotated[TemplateSettings, Tag("own")],
        Discriminator(lambda value: "name" if isinstance(value, str) else "own"),
        BeforeValidator(read_template, json_schema_input_type=str | TemplateSettings),
    ] = Field(
        "metamath",
        description="The words around a question: plain, metamath, alpaca, chat (the LLM's own chat template), a YAML file "
        "(./my.yaml) or a mapping with before, after, respond and reconstruct.",
    )
    code_switching: CodeSwitchingSettings = Field(default_factory=CodeSwitchingSettings)
    max_tokens: int = Field(1280, ge=16, description="Longest whole sequence in the LLM, soft tokens included.")
    contaminated: Literal["drop", "keep"] = Field(
        "drop",
        description="Instructions that a benchmark has too (the same text, or 13 words in a row): drop, or only count them.",
    )
    held_out: tuple[BenchmarkSettings, ...] = Field(
        (), description="Benchmarks whose questions must not be trained on, besides those of `evaluate`."
    )
    over_length: OverLength = Field(
        "drop", description="Rows that are too long: drop and count, truncate and count, or stop with an error."
    )

    def lexicon_of(self, language: str) -> str | None:
        """Where the lexicon of `language` is to be found, or None if the recipe names none."""
        return _location_of(self.lexicons, language)

    def translations_of(self, language: str) -> str | None:
        """Where the translated texts of `language` are to be found, or None if the recipe names none."""
        return _location_of(self.translations, language)


def _location_of(places: dict[str, str], language: str) -> str | None:
    text = places.get(language, places.get("*"))
    return fill_language(text, language) if text is not None else None


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


BenchmarkName = Literal["world", "mmwp", "mgsm", "msvamp", "xnli", "xcsqa"]
WITH_LABELS: tuple[BenchmarkName, ...] = ("xnli", "xcsqa")
"""Benchmarks whose answers are chosen among labels; those of the others are numbers."""


class BenchmarkSettings(Settings):
    """One benchmark of the evaluation."""

    name: BenchmarkName
    source: Literal["files", "hub", "sample"] = Field(
        "files", description="The authors' files, the Hugging Face hub, or a few rows of our own for smoke tests."
    )
    path: str | None = Field(None, description="Folder with the files. Left out: where `lilift eval fetch` puts them.")
    languages: Annotated[
        tuple[str, ...] | None, BeforeValidator(expand_languages, json_schema_input_type=str | list[str] | None)
    ] = Field(
        None,
        description="Codes, or groups of them: `mmwp-low`, `mmwp-medium`, `mmwp-high`, `mmwp` (all without English). Left out: "
        "English and the recipe's languages.",
    )
    limit: int | None = Field(None, ge=1, description="Only the first questions of each language.")
    labels: Literal["generation", "likelihood"] = Field(
        "generation",
        description="xnli and xcsqa: the label that the response names, or the one that the model finds likeliest after "
        "reading the question, which is many times faster.",
    )

    @model_validator(mode="after")
    def _labels_where_there_are_labels(self) -> BenchmarkSettings:
        if self.labels == "likelihood" and self.name not in WITH_LABELS:
            raise ValueError(f"labels: the answers to {self.name} are no labels; likelihood is for {' and '.join(WITH_LABELS)}")
        return self


DataSettings.model_rebuild()


class EvaluateSettings(Settings):
    """What is asked after training, and how."""

    benchmarks: tuple[BenchmarkSettings, ...] = Field((), description="Left empty, the phase is skipped.")
    untrained: bool = Field(False, description="Evaluate the bridge before training too.")
    alignment: str | None = Field(
        None,
        description="Parallel sentences on which alignment is measured before and after stage 1: `world`, or a folder with "
        "FLORES or SIB-200 files. Left out: not measured.",
    )
    max_new_tokens: int = Field(512, ge=1)
    tokens_per_batch: int = Field(8192, ge=16, description="Tokens of prompts and answers generated side by side.")


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


class Recipe(Settings):
    """A whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    card: Card = Field("24gb", description="The smallest card that the recipe is meant for.")
    languages: Annotated[tuple[str, ...], BeforeValidator(expand_languages, json_schema_input_type=str | list[str])] = Field(
        min_length=1,
        description="Codes of the languages to be lifted, or groups of them: `mmwp-low`, `mmwp-medium`, `mmwp-high`, `mmwp`.",
    )
    seed: int = Field(0, ge=0, lt=2**32)
    encoder: EncoderSettings
    llm: LLMSettings
    alignment: AlignmentSettings = Field(default_factory=AlignmentSettings)
    data: DataSettings
    align: AlignSettings = Field(default_factory=AlignSettings)
    transfer: TransferSettings = Field(default_factory=TransferSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)

    @model_validator(mode="after")
    def _no_contradictions(self) -> Recipe:
        for language in self.languages:
            if language == "en":
                raise ValueError("languages: English is what the LLM already knows; leave `en` out (it is always evaluated)")
            if self.switches_words and self.data.lexicon_of(language) is None:
                raise ValueError(f"data.lexicons: no lexicon is named for language {language!r}")
            if self.uses_translations and self.data.translations_of(language) is None:
                raise ValueError(f"data.translations: no translated texts are named for language {language!r}")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: a language is named twice")
        for name, stage in (("align", self.align), ("transfer", self.transfer)):
            if stage.tokens_per_micro_batch > stage.tokens_per_step:
                raise ValueError(f"{name}.tokens_per_micro_batch is larger than {name}.tokens_per_step")
            if stage.tokens_per_micro_batch < self.data.max_tokens:
                raise ValueError(
                    f"{name}.tokens_per_micro_batch is smaller than data.max_tokens: the longest row would not fit"
                )
        self._check_stages()
        if self.encoder.quantization == "nf4" and self.encoder.placement != "resident":
            raise ValueError("encoder.placement: a 4-bit encoder cannot leave the card; set encoder.quantization to none")
        if self.encoder.quantization == "nf4" and self.encoder.dtype == "float16":
            raise ValueError("encoder.quantization: nf4 computes in encoder.dtype, which must be bfloat16 or float32")
        if self.card != "cpu" and self.encoder.dtype == "float16":
            raise ValueError("encoder.dtype: mT5 overflows in float16; use bfloat16")
        return self

    def _check_stages(self) -> None:
        """What the stages train must be there, and what comes after them must have been trained."""
        if not self.stages:
            raise ValueError("align.skip: both stages are left out, so that nothing is trained")
        if (self.alignment.layout == "text") != (not self.has_encoder):
            raise ValueError("alignment.layout: text is for recipes without an encoder (encoder.model: none), and they need it")
        if not self.has_encoder and self.trained_by("alignment") is not None:
            raise ValueError("align.trains: without an encoder there is no alignment layer; set adapter, or align.skip to true")
        if not self.has_encoder and self.encoder.placement != "resident":
            raise ValueError("encoder.placement: there is no encoder")
        if self.transfer.control and (self.trained_by("alignment"), self.trained_by("adapter")) != ("align", "transfer"):
            raise ValueError("transfer.control: it is stage 2 without stage 1, where they train alignment layer and adapter")
        if self.evaluate.alignment is not None and self.trained_by("alignment") != "align":
            raise ValueError("evaluate.alignment: it is measured before and after stage 1, which does not train the layer here")
        if self.export.formats and not self.can_be_exported:
            raise ValueError(
                "export.formats: what is exported is an encoder, an alignment layer and an adapter, and this recipe lacks one; "
                "set it to []"
            )

    @property
    def has_encoder(self) -> bool:
        """Whether there is a bridge; without one the LLM reads questions itself."""
        return self.encoder.model != "none"

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The training stages that are not left out, in order."""
        skipped: dict[StageName, bool] = {"align": self.align.skip, "transfer": self.transfer.skip}
        return tuple(name for name, skip in skipped.items() if not skip)

    def trained_by(self, part: TrainedPart) -> StageName | None:
        """The stage that trains a part last, whose result is the run's; None if none does."""
        trains: dict[StageName, TrainedPart] = {"align": self.align.trains, "transfer": self.transfer.trains}
        return next((name for name in reversed(self.stages) if trains[name] == part), None)

    @property
    def can_be_exported(self) -> bool:
        """Whether a run has all that an export is made of."""
        return self.has_encoder and self.trained_by("alignment") == "align" and self.trained_by("adapter") == "transfer"

    @property
    def switches_words(self) -> bool:
        """Whether stage 1 reads code-switched texts."""
        return not self.align.skip and "switched" in self.align.texts

    @property
    def uses_translations(self) -> bool:
        """Whether any stage reads translated texts."""
        return any("translated" in getattr(self, name).texts for name in self.stages)

    @property
    def translations_need_response(self) -> bool:
        """Whether a stage is to say the response of a translated text."""
        in_align = "align" in self.stages and "translated" in self.align.texts and "respond" in self.align.target
        return in_align or ("transfer" in self.stages and "translated" in self.transfer.texts)

    def as_dict(self) -> dict[str, Any]:
        """The recipe with every default written out, as plain JSON types."""
        return self.model_dump(mode="json")
