"""The section `data`: what both stages learn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from lilift.recipe.schema.base_settings import Settings
from lilift.recipe.schema.evaluation_settings import BenchmarkSettings
from lilift.recipe.template_file import read_template

OverLength = Literal["drop", "truncate", "error"]


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
    return {"*": value} if isinstance(value, str) else value


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
    return text.replace("{language}", language) if text is not None else None
