"""The section `data`: what both stages learn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from lilift.recipe.schema.base_settings import Settings, location_of, one_for_all
from lilift.recipe.schema.evaluation_settings import BenchmarkSettings
from lilift.recipe.template_file import read_template

OverLength = Literal["drop", "truncate", "error"]


class ColumnSettings(Settings):
    """Names of the columns of an instruction file. lilift needs them only if it does not recognise the columns itself."""

    question: str = Field(description="Column with the English questions.")
    response: str = Field(description="Column with the English responses.")
    answer: str | None = Field(None, description="Column with the final answers, if the file has one.")


class InstructionSettings(Settings):
    """English problems with responses, from which both stages learn."""

    source: str = Field(
        description="`world` (problems that lilift generates), a file or folder (jsonl, json, csv, tsv, parquet), or the name "
        "of a data set on the Hugging Face hub."
    )
    revision: str | None = Field(None, description="Commit, tag or branch of the data set on the hub.")
    subset: str | None = Field(
        None,
        exclude_if=lambda subset: subset is None,  # runs without this setting keep their fingerprint
        description="Subset (configuration) of a data set on the hub, such as `main` or `eng_Latn`, if it has several.",
    )
    split: str = Field("train", description="Split of a data set on the hub.")
    columns: ColumnSettings | None = Field(
        None, description="Names of the columns. If you leave it out, lilift recognises common names itself."
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Largest number of examples; lilift takes the first usable ones. If you leave it out: all "
        "(`world`: 6,000).",
    )


Share = Annotated[float, Field(ge=0, le=1)]


class ShareRange(Settings):
    """Two limits. lilift draws a share between them, and every share is equally likely."""

    min: Share = Field(description="Smallest share, 0 to 1.")
    max: Share = Field(description="Largest share, 0 to 1.")

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
    """How stage 1 replaces English words by translations."""

    ratios: Annotated[
        Annotated[ShareList, Tag("list")] | Annotated[ShareRange, Tag("range")],
        Discriminator(_list_or_range),
        BeforeValidator(_one_as_list, json_schema_input_type=Share | ShareList | ShareRange),
    ] = Field(
        (0.3, 0.6, 0.9),
        description="Share of the translatable words that lilift replaces, 0 to 1. Give a number, a list, or a range such as "
        "{min: 0.2, max: 0.8}. From a list or a range, lilift draws a share for each example and epoch.",
    )
    mixed: Share = Field(
        0.0,
        description="Share of examples, 0 to 1, that mix all languages: lilift draws the language of each word. Every other "
        "example has one language.",
    )
    shuffle: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of examples, 0 to 1, in which lilift also changes the order of the words within a sentence. The "
        "LinguaLIFT paper does not do this.",
    )


TemplateName = Literal["plain", "metamath", "alpaca", "chat"]


class TemplateSettings(Settings):
    """A prompt template that the recipe defines itself."""

    before: str = Field(
        "", description="Text before the question, if the LLM sees the question's text (`alignment.layout`: soft+text or text)."
    )
    after: str = Field("\n", description="Text between the question's text and `respond` or `reconstruct`.")
    respond: str = Field(min_length=1, description="Last words of the prompt before a response, such as `Answer:`.")
    reconstruct: str = Field(
        "English:", min_length=1, description="Last words of the prompt before the English question, in stage 1."
    )

    @model_validator(mode="after")
    def _openers_end_without_a_space(self) -> TemplateSettings:
        for name in ("respond", "reconstruct"):
            if getattr(self, name)[-1].isspace():
                raise ValueError(f"{name} ends with a space or line break: remove it, because lilift adds a space itself")
        return self


class MonolingualSettings(Settings):
    """Running text in the languages of the recipe, for continued pretraining of the LLM."""

    files: Annotated[dict[str, str], BeforeValidator(one_for_all, json_schema_input_type=str | dict[str, str])] = Field(
        description="Text files: a mapping from language to file, or one path with `{language}` in it. A line is a sentence or "
        "a paragraph, and a blank line ends a document. The files may be compressed."
    )
    tokens: int | None = Field(
        None,
        ge=1,
        description="Largest number of LLM tokens that lilift takes from the files, an equal share of each language, from the "
        "beginning of its file. If you leave it out: all.",
    )

    def file_of(self, language: str) -> str | None:
        """The place of the text of `language`, or None if the recipe does not name one."""
        return location_of(self.files, language)


class DataSettings(Settings):
    """The texts and dictionaries that both stages learn from."""

    instructions: InstructionSettings
    translations: Annotated[dict[str, str], BeforeValidator(one_for_all, json_schema_input_type=str | dict[str, str])] = Field(
        {},
        description="Files with English texts and their translations: a mapping from language to file, or one path with "
        "`{language}` in it. Only methods that learn from parallel texts need them (`align.texts` or `transfer.texts` contain "
        "translated). LinguaLIFT does not.",
    )
    monolingual: MonolingualSettings | None = Field(
        None,
        exclude_if=lambda texts: texts is None,  # runs without this setting keep their fingerprint
        description="Running text in the languages, for continued pretraining (`align.texts: [monolingual]`). LinguaLIFT does "
        "not need it.",
    )
    lexicons: Annotated[dict[str, str], BeforeValidator(one_for_all, json_schema_input_type=str | dict[str, str])] = Field(
        {},
        description="Dictionaries for code-switching: a folder of lexicons (see `lilift lexicon`), a mapping from language to "
        "file (MUSE, GATITOS or TSV; may be gzipped), one path with `{language}` in it, or `world` (an excerpt that comes with "
        "lilift).",
    )
    template: Annotated[
        Annotated[TemplateName, Tag("name")] | Annotated[TemplateSettings, Tag("own")],
        Discriminator(lambda value: "name" if isinstance(value, str) else "own"),
        BeforeValidator(read_template, json_schema_input_type=str | TemplateSettings),
    ] = Field(
        "metamath",
        description="The words around a question in the LLM's prompt: plain, metamath, alpaca, chat (the LLM's own chat "
        "template), a YAML file (./my.yaml), or a mapping with before, after, respond and reconstruct.",
    )
    code_switching: CodeSwitchingSettings = Field(default_factory=CodeSwitchingSettings)
    max_tokens: int = Field(
        1280,
        ge=16,
        description="Longest row of the LLM, in LLM tokens, soft tokens included. Longer rows need more memory; "
        "`data.over_length` decides what happens to rows that are too long.",
    )
    contaminated: Literal["drop", "keep"] = Field(
        "drop",
        description="Instructions that also appear in a benchmark (the same text, or 13 words in a row). drop: leave them out. "
        "keep: only count them.",
    )
    held_out: tuple[BenchmarkSettings, ...] = Field(
        (),
        description="More benchmarks whose questions you do not want to train on. lilift looks for them in the instructions, "
        "as it does for `evaluate.benchmarks`; see `data.contaminated`.",
    )
    over_length: OverLength = Field(
        "drop",
        description="What lilift does with rows that are too long. drop: leave them out and count them. truncate: cut them and "
        "count them, which cuts the reasoning short. error: stop.",
    )

    def lexicon_of(self, language: str) -> str | None:
        """The place of the lexicon of `language`, or None if the recipe does not name one."""
        return location_of(self.lexicons, language)

    def translations_of(self, language: str) -> str | None:
        """The place of the translated texts of `language`, or None if the recipe does not name one."""
        return location_of(self.translations, language)
