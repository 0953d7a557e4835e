"""The section `evaluate`: what lilift measures, and on which benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from lilift.recipe.language_groups import expand_languages
from lilift.recipe.schema.base_settings import Settings

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
