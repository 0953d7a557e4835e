"""Reads and checks `lilift.json`, the description of an exported bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lilift.recipe import storage
from lilift.recipe.errors import RecipeError, RunFolderError
from lilift.recipe.schema import Layout
from lilift.recipe.setting_mistakes import what_it_takes

DESCRIPTION = "lilift.json"
KNOWN_FORMATS = (2, 3, 4)
SEQUENCE = ("llm bos", "alignment bos", "soft tokens", "alignment eos", "prompt text", "response")
LLM_ALONE_SEQUENCE = ("llm bos", "prompt text", "response")
"""The sequence of a run without an encoder; only exports of the format 4 have it."""


_Count = Annotated[int, Field(ge=1, lt=2**31)]
_TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    # A later lilift may add fields without a new format; this version does not need them.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class TokenizerPart(_Part):
    """How the encoder's tokenizer frames a text."""

    file: str
    prefix: list[_TokenId]
    suffix: list[_TokenId]


class EncoderPart(_Part):
    """The encoder's file, and how its states are used."""

    file: str
    hidden_size: _Count
    max_tokens: _Count
    add_embeddings: bool
    prefix: str = ""  # before every text; only exports of the format 3 have one
    tokenizer: TokenizerPart


class LLMPart(_Part):
    """The LLM's files by the type of their weights, and its special tokens."""

    files: dict[str, str] = Field(min_length=1)
    bos: _TokenId | None
    stop: list[_TokenId]
    hidden_size: _Count
    context_length: _Count
    embedding_scale: float = Field(gt=0, allow_inf_nan=False)
    control_tokens: list[Annotated[str, Field(min_length=1)]] = []  # exports of earlier versions do not name them
    normalizer: list[dict[str, Any]] = []  # nor these
    space_prefix: Literal["as llama.cpp", "start"] = "as llama.cpp"


class AlignmentPart(_Part):
    """The alignment layer's file."""

    file: str
    kind: Literal["ffn", "linear", "latent"]


class Openers(_Part):
    """The words before a response."""

    respond: str


class TemplatePart(_Part):
    """The words around a question, as in training."""

    before: str
    after: str
    openers: Openers


class Description(_Part):
    """Everything that a runner needs to know; docs/export.md explains each field.

    The export of a run without an encoder has neither `encoder` nor `alignment`: its LLM reads the question's text.
    """

    recipe: str
    languages: list[str]
    seed: int
    sequence: list[str]
    layout: Layout
    template: TemplatePart
    encoder: EncoderPart | None
    llm: LLMPart
    alignment: AlignmentPart | None
    max_tokens: _Count
    max_new_tokens: _Count
    merge_base: str
    sha256: dict[str, str]

    @property
    def bridge_files(self) -> tuple[str, ...]:
        """The files of encoder and alignment layer; none if the LLM reads questions itself."""
        if self.encoder is None or self.alignment is None:
            return ()
        return self.encoder.file, self.encoder.tokenizer.file, self.alignment.file

    def prompt(self, question: str) -> str:
        """The text that the LLM reads after the soft tokens."""
        return self.template.openers.respond if self.layout == "soft" else self.text_prompt(question)

    def text_prompt(self, question: str) -> str:
        """The text that the LLM reads alone, without soft tokens."""
        return f"{self.template.before}{question.strip()}{self.template.after}{self.template.openers.respond}"

    def llm_file(self, quantisation: str | None) -> tuple[str, str]:
        """Type and file name of the LLM; the first type in the bundle if `quantisation` is None.

        Raises:
            RecipeError: the bundle does not have this type.
        """
        if quantisation is None:
            return next(iter(self.llm.files.items()))
        if quantisation not in self.llm.files:
            raise RecipeError(
                f"this export has no LLM of the type {quantisation!r}",
                where="--quant",
                remedy=f"choose from {', '.join(self.llm.files)}",
            )
        return quantisation, self.llm.files[quantisation]


def is_export(folder: Path) -> bool:
    """Whether a folder is an export of `lilift export`."""
    return (folder / DESCRIPTION).is_file()


def read_description(folder: Path) -> Description:
    """Read a bundle's `lilift.json`.

    Raises:
        RunFolderError: the file is missing, was changed or has another format, or the bundle has no GGUF files.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise RunFolderError(
            f"this folder is not an export: it has no {DESCRIPTION}", where=folder, remedy="give the folder of an export"
        )
    content = storage.read_json(path)
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or version not in KNOWN_FORMATS:
        remedy = "update lilift" if isinstance(version, int) and version > max(KNOWN_FORMATS) else "export the run again"
        known = " and ".join(map(str, KNOWN_FORMATS))
        raise RunFolderError(
            f"the file has the format {version}, but this lilift reads the formats {known}", where=path, remedy=remedy
        )
    storage.check_seal(content, path)
    if not isinstance(content.get("llm"), dict) or "files" not in content["llm"]:
        raise RunFolderError(
            "the export has no GGUF files, and only these can run here",
            where=folder,
            remedy="export the run again with `--to gguf` or `--to all`",
        )
    try:
        description = Description.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        what = "is missing" if problem["type"] == "missing" else f"is not {what_it_takes(problem)}"
        raise RunFolderError(f"{place} {what}", where=path, remedy="export the run again") from None
    has_encoder = description.layout != "text"
    if (description.encoder is not None, description.alignment is not None) != (has_encoder, has_encoder):
        raise RunFolderError(
            "the export's layout does not fit its parts: only the layout `text` has no encoder and no alignment layer",
            where=path,
            remedy="export the run again",
        )
    expected = SEQUENCE if has_encoder else LLM_ALONE_SEQUENCE
    if tuple(description.sequence) != expected:
        raise RunFolderError(
            "the export needs an order of the sequence that this lilift does not know", where=path, remedy="update lilift"
        )
    return description


def check_parts(folder: Path, description: Description, names: Sequence[str]) -> None:
    """Check the SHA-256 of files against those in the description.

    Raises:
        RunFolderError: a file is missing, belongs to another export, or was changed.
    """
    for name in names:
        path = folder / name
        # A bundle may come from anywhere, so no name may point to a file outside its folder.
        if Path(name).name != name or name not in description.sha256:
            raise RunFolderError(
                f"{DESCRIPTION} has no checksum for the part {name!r}", where=folder, remedy="export the run again"
            )
        if not path.is_file():
            raise RunFolderError(f"{name} is missing", where=folder, remedy="copy the whole folder, or export the run again")
        if storage.sha256_of(path) != description.sha256[name]:
            raise RunFolderError(
                f"{name} is not the file that was exported (its SHA-256 differs)",
                where=folder,
                remedy="copy it again, or export the run again",
            )
