"""The section `evaluate`: what lilift measures, and on which benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lilift.recipe.language_groups import known_languages
from lilift.recipe.schema.base_settings import Settings

BenchmarkName = Literal["world", "mmwp", "mgsm", "msvamp", "xnli", "xcsqa"]
WITH_LABELS: tuple[BenchmarkName, ...] = ("xnli", "xcsqa")
"""Benchmarks whose answers are labels. The answers of the other benchmarks are numbers."""


class BenchmarkSettings(Settings):
    """One benchmark of the evaluation."""

    name: BenchmarkName = Field(
        description="world: word problems that lilift generates. mmwp, mgsm, msvamp: mathematical word problems. xnli: natural "
        "language inference. xcsqa: common-sense questions with five choices."
    )
    source: Literal["files", "hub", "sample"] = Field(
        "files",
        description="files: the files of the benchmark's authors. hub: the Hugging Face hub. sample: a few rows that come with "
        "lilift, for smoke tests.",
    )
    path: str | None = Field(
        None,
        description="Folder with the authors' files. If you leave it out, lilift looks where `lilift eval fetch` puts them.",
    )
    languages: Annotated[
        tuple[str, ...] | None, BeforeValidator(known_languages, json_schema_input_type=str | list[str] | None)
    ] = Field(
        None,
        description="Language codes, or groups of them: `mmwp-low`, `mmwp-medium`, `mmwp-high`, `mmwp` (no group contains "
        "English). If you leave it out: English and the recipe's languages.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Number of questions per language; lilift takes the first ones. If you leave it out: all (`world`: 200).",
    )
    labels: Literal["generation", "likelihood"] = Field(
        "generation",
        description="How xnli and xcsqa choose a label. generation: the label that the model's response names. likelihood: the "
        "label that is most likely after the question; this is many times faster.",
    )

    @model_validator(mode="after")
    def _labels_where_there_are_labels(self) -> BenchmarkSettings:
        if self.labels == "likelihood" and self.name not in WITH_LABELS:
            raise ValueError(
                f"labels: the answers of {self.name} are not labels; likelihood is for {' and '.join(WITH_LABELS)}"
            )
        return self


class EvaluateSettings(Settings):
    """What lilift measures after training, and how."""

    benchmarks: tuple[BenchmarkSettings, ...] = Field(
        (), description="The benchmarks to run. If the list is empty, lilift skips this phase."
    )
    untrained: bool = Field(
        False, description="Also evaluate the models as they are before training. The evaluation takes longer."
    )
    alignment: str | None = Field(
        None,
        description="Parallel sentences for measuring alignment before and after stage 1: `world`, or a folder with FLORES or "
        "SIB-200 files. If you leave it out, lilift does not measure alignment.",
    )
    max_new_tokens: int = Field(512, ge=1, le=2**20, description="Longest response of the model, in LLM tokens.")
    tokens_per_batch: int = Field(
        8192,
        ge=16,
        description="Tokens of prompts and responses that the LLM processes side by side. Lower it if memory runs out during "
        "evaluation.",
    )
