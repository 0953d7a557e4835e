"""The section `evaluate`: what lilift measures, and on which benchmarks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from lilift.recipe.language_groups import known_languages
from lilift.recipe.schema.base_settings import Settings, none_as_nothing
from lilift.recipe.schema.stage_settings import StageName

BenchmarkName = Literal[
    "world",
    "afrimgsm",
    "mgsm",
    "belebele",
    "sib200",
    "xnli",
    "global-mmlu-lite",
    "polymath-low",
    "polymath-medium",
    "polymath-high",
    "polymath-top",
    "mmwp",
    "msvamp",
    "xcsqa",
    "custom",
]
RespondIn = Literal["english", "asked"]
"""The language of answers: English, or the language of the question."""
WITH_LABELS: tuple[BenchmarkName, ...] = ("belebele", "sib200", "xnli", "global-mmlu-lite", "xcsqa")
"""Benchmarks whose answers are labels. The answers of the other benchmarks are numbers."""
MAY_HAVE_LABELS: tuple[BenchmarkName, ...] = (*WITH_LABELS, "custom")
"""Those, and your own, whose file tells."""


class QuestionColumnSettings(Settings):
    """Names of the columns in a benchmark file of your own. lilift needs only those that it does not recognise itself."""

    question: str | None = Field(None, description="Column with the questions.")
    answer: str | None = Field(
        None, description="Column with the right answers: numbers, labels, or the right choice as a letter, number or text."
    )
    id: str | None = Field(None, description="Column with the id that a question has in every language.")
    language: str | None = Field(None, description="Column with the language of each row.")
    context: str | None = Field(None, description="Column with a text that comes before the question, such as a passage.")
    choices: tuple[str, ...] | None = Field(
        None, description="Column with the list of choices, or a list of columns with one choice each."
    )

    @field_validator("choices", mode="before")
    @classmethod
    def _one_column_as_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class BenchmarkSettings(Settings):
    """One benchmark of the evaluation."""

    name: BenchmarkName = Field(
        description="Translated by people: afrimgsm, mgsm (math word problems), belebele (reading comprehension), sib200 "
        "(topics of sentences), xnli (natural language inference). Translated by a machine and corrected by people: "
        "global-mmlu-lite (knowledge), polymath-low, polymath-medium, polymath-high, polymath-top (math problems by level). "
        "Translated by a machine: mmwp, msvamp (math word problems), xcsqa (common sense). world: word problems that lilift "
        "generates. custom: your own questions, from `path`."
    )
    source: Literal["files", "hub", "sample"] = Field(
        "files",
        description="files: the files of the benchmark's authors. hub: the Hugging Face hub. sample: a few rows that come with "
        "lilift, for smoke tests.",
    )
    path: str | None = Field(
        None,
        description="Folder with the authors' files. If you leave it out, lilift looks where `lilift eval fetch` puts them. "
        "custom: your file (jsonl, json, csv, tsv, parquet) or your folder with one file for each language.",
    )
    title: str | None = Field(
        None,
        description="custom only: name of the benchmark in results. If you leave it out: the name of the file or folder.",
    )
    columns: QuestionColumnSettings | None = Field(
        None, description="custom only: names of the columns. If you leave it out, lilift recognises common names itself."
    )
    languages: Annotated[
        tuple[str, ...] | None, BeforeValidator(known_languages, json_schema_input_type=str | list[str] | None)
    ] = Field(
        None,
        description="Language codes, or groups of them: `mmwp-low`, `mmwp-medium`, `mmwp-high`, `mmwp` (no group contains "
        "English). If you leave it out: English and the recipe's languages. custom: English only if your file has it.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Number of questions per language; lilift takes the first ones. If you leave it out: all (`world`: 200).",
    )
    labels: Literal["generation", "likelihood"] = Field(
        "generation",
        description="How a benchmark with labels or choices (belebele, sib200, xnli, global-mmlu-lite, xcsqa, your own) finds "
        "the label. generation: the label that the model's response names. likelihood: the label that is most likely after the "
        "question; this is many times faster.",
    )

    bare: bool = Field(
        False,
        exclude_if=lambda bare: not bare,  # results without this setting keep their fingerprint
        description="Ask the question without the line that lists the possible answers, for a model that learned from such "
        "questions. Only for belebele, sib200, xnli, global-mmlu-lite, xcsqa and your own questions.",
    )

    @model_validator(mode="after")
    def _bare_where_there_is_a_line(self) -> BenchmarkSettings:
        if self.bare and self.name not in MAY_HAVE_LABELS:
            raise ValueError(f"bare: lilift adds no line to the questions of {self.name}; leave it out")
        return self

    @model_validator(mode="after")
    def _labels_where_there_are_labels(self) -> BenchmarkSettings:
        # Only its file tells whether a custom benchmark has labels.
        if self.labels == "likelihood" and self.name not in MAY_HAVE_LABELS:
            raise ValueError(f"labels: the answers of {self.name} are not labels; likelihood is for {', '.join(WITH_LABELS)}")
        return self

    @model_serializer(mode="wrap")
    def _without_settings_of_custom(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only custom benchmarks have, so that results of the others keep their fingerprint."""
        unset = [name for name in ("title", "columns") if getattr(self, name) is None]
        return {name: value for name, value in dump(self).items() if name not in unset}

    @model_validator(mode="after")
    def _own_questions_come_from_a_path(self) -> BenchmarkSettings:
        if self.name != "custom":
            for setting in ("title", "columns"):
                if getattr(self, setting) is not None:
                    raise ValueError(f"{setting}: only a custom benchmark has this setting; {self.name} needs none")
        elif self.path is None:
            raise ValueError("path: a custom benchmark needs it; write the file or folder with your questions")
        elif self.source != "files":
            raise ValueError(f"source: a custom benchmark comes from its `path`, not from {self.source}; leave `source` out")
        return self


class DuringSettings(Settings):
    """A few questions that the model answers again and again while it trains."""

    benchmark: BenchmarkName = Field(
        description="The benchmark that the questions come from. If `evaluate.benchmarks` lists it too, `source` and `path` of "
        "that entry count here, and the evaluation after training leaves these questions out."
    )
    source: Literal["files", "hub", "sample"] | None = Field(
        None, description="As for `evaluate.benchmarks`, for a benchmark that is not listed there."
    )
    path: str | None = Field(
        None,
        description="As for `evaluate.benchmarks`, for a benchmark that is not listed there. custom: needed, if not listed.",
    )
    languages: Annotated[
        tuple[str, ...] | None, BeforeValidator(known_languages, json_schema_input_type=str | list[str] | None)
    ] = Field(None, description="Codes or groups of the languages to watch. If you leave it out: the recipe's languages.")
    rows: int = Field(
        50,
        ge=1,
        description="Number of questions in each language. lilift draws them with the seed; all languages get the same.",
    )
    every: int = Field(
        100, ge=1, description="Optimizer steps between two watches. lilift also watches at the first and last step."
    )
    stages: tuple[StageName, ...] = Field(
        ("transfer",), min_length=1, description="The stages to watch: align, transfer or both. transfer includes its control."
    )
    keep: Literal["best", "last"] = Field(
        "last",
        description="The weights that a watched stage ends with. last: those of its last step. best: those of the watch with "
        "the most right answers; among equals, the latest.",
    )

    @field_validator("languages")
    @classmethod
    def _foreign(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if languages is not None and ("en" in languages or not languages):
            raise ValueError("lilift watches foreign languages; name at least one, and leave out `en`")
        return languages

    @model_validator(mode="after")
    def _path_or_source(self) -> DuringSettings:
        if self.path is not None and self.source not in (None, "files"):
            raise ValueError(f"path: the questions come from {self.source}; leave out `path` or `source`")
        return self


class PivotSettings(Settings):
    """A translator that translates the questions into English before the model answers."""

    model: str = Field(
        description="An NLLB, M2M100 or Marian (opus-mt) model: a folder of CTranslate2 or Hugging Face, or a name on the hub. "
        "lilift converts a Hugging Face model to 8 bits once. Its weights are in memory before the LLM's, not beside them."
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a model on the hub.")
    back: str | None = Field(
        None,
        exclude_if=lambda back: back is None,  # runs without this setting keep their fingerprint
        description="With `respond_in: asked`: another translator, which translates the answers. Only if `model` knows one "
        "direction alone, as Marian models do.",
    )
    beam_size: int = Field(
        4, ge=1, le=64, description="Hypotheses that compete. More take longer. 1 always takes the most likely token."
    )
    language_codes: dict[str, str] = Field(
        default_factory=dict,
        description="The translator's code for a language, such as `{ar: arz_Arab}`. Only for languages where it has several.",
    )
    device: Literal["auto", "cpu"] = Field(
        "auto", description="Where the translator runs. auto: on the GPU if CTranslate2 can use it, and otherwise on the CPU."
    )


class EvaluateSettings(Settings):
    """What lilift measures after training, and how."""

    benchmarks: tuple[BenchmarkSettings, ...] = Field(
        (), description="The benchmarks to run. If the list is empty, lilift skips this phase."
    )
    untrained: bool = Field(
        False, description="Also evaluate the models as they are before training. The evaluation takes longer."
    )
    alignment: Annotated[str | None, BeforeValidator(none_as_nothing, json_schema_input_type=str | None)] = Field(
        None,
        description="Parallel sentences for measuring alignment before and after stage 1: `world`, or a folder with FLORES or "
        "SIB-200 files. `none`, or if you leave it out: lilift does not measure alignment.",
    )
    max_new_tokens: int = Field(512, ge=1, le=2**20, description="Longest response of the model, in LLM tokens.")
    tokens_per_batch: int = Field(
        8192,
        ge=16,
        description="Tokens of prompts and responses that the LLM processes side by side. Lower it if memory runs out during "
        "evaluation.",
    )
    dequantize: Literal["auto"] | bool = Field(
        "auto",
        exclude_if=lambda wanted: wanted == "auto",  # runs without this setting keep their fingerprint
        description="Keep the LLM's 4-bit weights dequantised while it answers. This is faster, and takes 2 bytes more for "
        "each weight (4 in float32). auto: if there is room. true: always, and the memory plan counts them. false: never.",
    )
    during: DuringSettings | None = Field(
        None,
        exclude_if=lambda during: during is None,  # runs without this setting keep their fingerprint
        description="Watch a few questions in foreign languages while a stage trains. Training on English alone can make the "
        "model forget the bridge, and the English loss does not show it. lilift prints the share of right answers, and says "
        "when it begins to fall. If you leave it out, lilift watches nothing.",
    )
    pivot: PivotSettings | None = Field(
        None,
        exclude_if=lambda pivot: pivot is None,  # runs without this setting keep their fingerprint
        description="Translate the questions into English before the model answers: the baseline that translates and then "
        "solves. Only for benchmarks whose answers are numbers. If you leave it out, the model reads the questions themselves.",
    )

    respond_in: RespondIn = Field(
        "english",
        exclude_if=lambda language: language == "english",  # runs without this setting keep their fingerprint
        description="Language of the answers. english: as the model answers. asked: that of the question; `evaluate.pivot` "
        "translates the English answers back, keeps the English beside them, and stays in memory beside the LLM. lilift scores "
        "the answers that a user would read.",
    )

    @model_validator(mode="after")
    def _answers_are_translated_by_something(self) -> EvaluateSettings:
        if self.respond_in == "asked" and self.pivot is None:
            raise ValueError("respond_in: asked needs a translator for the answers; set `evaluate.pivot`")
        return self

    @model_validator(mode="after")
    def _numbers_are_translated(self) -> EvaluateSettings:
        labelled = next((one.name for one in self.benchmarks if one.name in WITH_LABELS), None)
        if self.pivot is not None and labelled is not None:
            raise ValueError(
                f"pivot: lilift does not translate the questions of {labelled}, because they mix English lines and labels with "
                "the language; leave out this benchmark or `pivot`"
            )
        return self
