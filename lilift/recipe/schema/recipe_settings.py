"""A whole recipe: all its sections, and the contradictions between them that lilift refuses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lilift.recipe.language_groups import expand_languages
from lilift.recipe.schema.base_settings import Settings
from lilift.recipe.schema.data_settings import DataSettings
from lilift.recipe.schema.evaluation_settings import EvaluateSettings
from lilift.recipe.schema.export_settings import ExportSettings
from lilift.recipe.schema.model_settings import AlignmentSettings, EncoderSettings, LLMSettings
from lilift.recipe.schema.stage_settings import AlignSettings, StageName, TrainedPart, TransferSettings

Card = Literal["cpu", "8gb", "12gb", "16gb", "24gb"]


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
