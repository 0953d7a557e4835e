"""A whole recipe: all its sections, and the contradictions between them that lilift refuses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lilift.recipe.language_groups import known_languages
from lilift.recipe.schema.base_settings import Settings, none_as_nothing
from lilift.recipe.schema.data_settings import DataSettings
from lilift.recipe.schema.evaluation_settings import BenchmarkSettings, DuringSettings, EvaluateSettings
from lilift.recipe.schema.export_settings import ExportSettings
from lilift.recipe.schema.model_settings import AlignmentSettings, EncoderSettings, LLMSettings
from lilift.recipe.schema.stage_settings import AlignSettings, StageName, TrainedPart, TransferSettings

Card = Literal["cpu", "8gb", "12gb", "16gb", "24gb", "t4"]
TrackedBy = Literal["tensorboard", "trackio", "wandb"]


class Recipe(Settings):
    """A whole recipe."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="Name of the recipe: lower-case letters, digits, `.`, `_` and `-`. By default, a run is in `runs/NAME`.",
    )
    description: str = Field("", description="What the recipe does, in one line. `lilift recipe list --json` prints it.")
    card: Card = Field(
        "24gb",
        description="The smallest card that the recipe is made for, by its memory. t4: a Tesla T4, which has no bfloat16. cpu: "
        "the recipe needs no GPU.",
    )
    languages: Annotated[tuple[str, ...], BeforeValidator(known_languages, json_schema_input_type=str | list[str])] = Field(
        min_length=1,
        description="Codes of the languages that the LLM learns to reason in, or groups of them: `mmwp-low`, "
        "`mmwp-medium`, `mmwp-high`, `mmwp`. English is never one of them.",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of everything that lilift draws at random, such as word swaps and new weights."
    )
    encoder: EncoderSettings
    llm: LLMSettings
    alignment: AlignmentSettings = Field(default_factory=AlignmentSettings)
    data: DataSettings
    align: AlignSettings = Field(default_factory=AlignSettings)
    transfer: TransferSettings = Field(default_factory=TransferSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)
    track: Annotated[TrackedBy | None, BeforeValidator(none_as_nothing)] = Field(
        None,
        exclude_if=lambda track: track is None,  # recipes without this setting keep their text
        description="Also send the figures of training (loss, learning rate, speed, memory, accuracy on watched questions) to "
        "another program. tensorboard: files in the run folder. trackio: a database on this machine. wandb: the servers of "
        "Weights & Biases, or files with `WANDB_MODE=offline`; they also get the recipe. Each needs its package: "
        "`pip install 'lilift[tensorboard]'`. A fault there never stops a run. `none`, or if you leave it out: nothing.",
    )

    @model_validator(mode="after")
    def _no_contradictions(self) -> Recipe:
        for language in self.languages:
            if language == "en":
                raise ValueError("languages: the LLM already knows English; remove `en` (lilift evaluates English too)")
            if self.switches_words and self.data.lexicon_of(language) is None:
                raise ValueError(f"data.lexicons: the recipe names no lexicon for language {language!r}")
            if self.uses_translations and self.data.translations_of(language) is None:
                raise ValueError(f"data.translations: the recipe names no translated texts for language {language!r}")
            if self.uses_monolingual and (self.data.monolingual is None or self.data.monolingual.file_of(language) is None):
                raise ValueError(f"data.monolingual: the recipe names no text file for language {language!r}")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: the list names a language twice")
        for name, stage in (("align", self.align), ("transfer", self.transfer)):
            if stage.tokens_per_micro_batch > stage.tokens_per_step:
                raise ValueError(f"{name}.tokens_per_micro_batch is larger than {name}.tokens_per_step")
            if stage.tokens_per_micro_batch < self.data.max_tokens:
                raise ValueError(
                    f"{name}.tokens_per_micro_batch is smaller than data.max_tokens, so the longest row would not fit"
                )
        self._check_stages()
        self._check_adaptation()
        self._check_layers()
        if self.alignment.pool != 1 and (self.alignment.kind == "latent" or not self.has_encoder):
            raise ValueError(
                "alignment.pool: only a linear or ffn layer averages encoder states; set it to 1 (a latent layer has `latents`)"
            )
        if self.encoder.quantization == "nf4" and self.encoder.placement != "resident":
            raise ValueError(
                "encoder.placement: a 4-bit encoder cannot leave the card; set encoder.quantization to none, or set resident"
            )
        if self.encoder.quantization == "nf4" and self.encoder.dtype == "float16":
            raise ValueError("encoder.quantization: nf4 computes in encoder.dtype; set encoder.dtype to bfloat16 or float32")
        if self.card != "cpu" and self.encoder.dtype == "float16":
            raise ValueError("encoder.dtype: mT5 overflows in float16; use bfloat16")
        return self

    def _check_stages(self) -> None:
        """Check that the recipe has the parts that its stages train, and trains the parts that later phases need."""
        if not self.stages:
            raise ValueError(
                "align.skip: the recipe skips both stages and trains nothing; set align.skip or transfer.skip to false"
            )
        if (self.alignment.layout == "text") != (not self.has_encoder):
            raise ValueError(
                "alignment.layout: recipes without an encoder (encoder.model: none) need text, and other recipes cannot use it"
            )
        if not self.has_encoder and self.trained_by("alignment") is not None:
            raise ValueError(
                "align.trains: a recipe without an encoder has no alignment layer; set adapter, or set align.skip to true"
            )
        if not self.has_encoder and self.encoder.placement != "resident":
            raise ValueError("encoder.placement: the recipe has no encoder; set it to resident")
        self._check_routes()
        if self.transfer.control and (self.trained_by("alignment"), self.trained_by("adapter")) != ("align", "transfer"):
            raise ValueError(
                "transfer.control: the control needs align to train the alignment layer and transfer to train the adapter"
            )
        if self.evaluate.alignment is not None and self.trained_by("alignment") != "align":
            raise ValueError(
                "evaluate.alignment: lilift measures it before and after stage 1, but stage 1 does not train the layer here"
            )
        self._check_during()
        if self.export.formats and not self.can_be_exported:
            raise ValueError(
                "export.formats: an export needs an adapter from stage 2 and, with an encoder, an alignment layer from stage "
                "1, and this recipe lacks one; set it to []"
            )

    def _check_routes(self) -> None:
        """Check that continued pretraining and layer swapping have what they need."""
        if self.uses_monolingual and (
            self.has_encoder or self.align.trains != "adapter" or self.align.texts != ("monolingual",)
        ):
            raise ValueError(
                "align.texts: monolingual needs align.trains: adapter, a recipe without an encoder (encoder.model: none), and "
                "no other texts beside it, because the LLM itself reads these texts"
            )
        if self.transfer.layer_swap is not None and (
            self.has_encoder or len(self.stages) < 2 or self.align.trains != self.transfer.trains
        ):
            raise ValueError(
                "transfer.layer_swap: it combines the adapters of both stages; set align.trains and transfer.trains to "
                "adapter, skip no stage, and set encoder.model to none"
            )

    def _check_adaptation(self) -> None:
        """Check that the recipe has an encoder to adapt, and that the texts are in its languages."""
        adapt = self.encoder.adapt
        if adapt is None:
            return
        if not self.has_encoder:
            raise ValueError("encoder.adapt: the recipe has no encoder to adapt; remove `adapt`, or name an encoder")
        for language in adapt.text:
            if language not in ("*", *self.languages):
                raise ValueError(
                    f"encoder.adapt.text: {language!r} is none of the recipe's languages; add it to `languages`, or remove it"
                    + (" (lilift takes English from data.instructions)" if language == "en" else "")
                )

    def _check_layers(self) -> None:
        """Check that the rest of the recipe can work with `alignment.layers: mix`."""
        if self.alignment.layers != "mix":
            return
        if not self.has_encoder:
            raise ValueError(
                "alignment.layers: a recipe without an encoder (encoder.model: none) has no layers to mix; set last"
            )
        if self.encoder.add_embeddings:
            raise ValueError(
                "encoder.add_embeddings: alignment.layers: mix already reads the token embeddings; set add_embeddings to false"
            )
        if "gguf" in self.export.formats:
            raise ValueError(
                "export.formats: llama.cpp gives only the last states of an encoder, so lilift cannot write a bridge with "
                "alignment.layers: mix as GGUF; set formats to [hf] or [], or set alignment.layers to last"
            )

    def _check_during(self) -> None:
        """Check that lilift can watch the stages that the recipe wants to watch."""
        during = self.evaluate.during
        if during is None:
            return
        for stage in during.stages:
            if stage not in self.stages:
                raise ValueError(f"evaluate.during.stages: the recipe skips {stage}; remove it from the list")
        if self.llm.backend == "unsloth":
            raise ValueError(
                "evaluate.during: an LLM that unsloth trains cannot answer during training; set llm.backend to auto"
            )
        if during.benchmark == "custom" and during.path is None and self.listed_in_evaluation(during) is None:
            raise ValueError("evaluate.during.path: custom needs it; write the file or folder with your questions")

    def listed_in_evaluation(self, during: DuringSettings) -> BenchmarkSettings | None:
        """The entry of `evaluate.benchmarks` that has the same questions as `during`, or None."""

        def same(one: BenchmarkSettings) -> bool:
            if one.name == "custom":
                return during.path in (None, one.path)
            return during.source is None or (during.source == "sample") == (one.source == "sample")

        return next((one for one in self.evaluate.benchmarks if one.name == during.benchmark and same(one)), None)

    def watched_in(self, stage: StageName) -> DuringSettings | None:
        """How lilift watches foreign questions while this stage trains; None if it does not."""
        during = self.evaluate.during
        return during if during is not None and stage in during.stages else None

    def keeps_best_of(self, stage: StageName) -> DuringSettings | None:
        """The settings of the watch that chooses the weights of this stage; None if the stage keeps its last weights.

        How often the stage is watched counts, too. Only then does a watch change the stage's result.
        """
        during = self.watched_in(stage)
        return during if during is not None and during.keep == "best" else None

    @property
    def has_encoder(self) -> bool:
        """Whether the recipe has an encoder. Without one, the LLM reads the questions itself."""
        return self.encoder.model != "none"

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The training stages that the recipe does not skip, in order."""
        skipped: dict[StageName, bool] = {"align": self.align.skip, "transfer": self.transfer.skip}
        return tuple(name for name, skip in skipped.items() if not skip)

    def trained_by(self, part: TrainedPart) -> StageName | None:
        """The last stage that trains a part, whose result the run uses. None if no stage trains it."""
        trains: dict[StageName, TrainedPart] = {"align": self.align.trains, "transfer": self.transfer.trains}
        return next((name for name in reversed(self.stages) if trains[name] == part), None)

    @property
    def can_be_exported(self) -> bool:
        """Whether a run has all parts that an export needs."""
        aligned = self.trained_by("alignment") == "align" or not self.has_encoder
        return aligned and self.trained_by("adapter") == "transfer"

    @property
    def switches_words(self) -> bool:
        """Whether stage 1 reads code-switched texts."""
        return not self.align.skip and "switched" in self.align.texts

    @property
    def uses_translations(self) -> bool:
        """Whether any stage reads translated texts."""
        return any("translated" in getattr(self, name).texts for name in self.stages)

    @property
    def uses_monolingual(self) -> bool:
        """Whether stage 1 reads running text in the languages."""
        return not self.align.skip and "monolingual" in self.align.texts

    @property
    def running_text(self) -> dict[str, str]:
        """The file with running text of each language, for continued pretraining or for adapting the encoder."""
        texts = self.data.monolingual if self.uses_monolingual else self.encoder.adapt
        found = {} if texts is None else {code: texts.file_of(code) for code in self.languages}
        return {code: place for code, place in found.items() if place is not None}

    @property
    def translations_need_response(self) -> bool:
        """Whether a stage learns the response of a translated text."""
        in_align = "align" in self.stages and "translated" in self.align.texts and "respond" in self.align.target
        return in_align or ("transfer" in self.stages and "translated" in self.transfer.texts)

    @property
    def translations_need_english(self) -> bool:
        """Whether stage 1 reads translated texts; stage 2 needs only their responses."""
        return "align" in self.stages and "translated" in self.align.texts

    def as_dict(self) -> dict[str, Any]:
        """The recipe with every default, as plain JSON types."""
        return self.model_dump(mode="json")
