"""The files of a translator: a folder that CTranslate2 reads, with its vocabulary and the pieces of its tokenizer.

lilift knows three families. NLLB and M2M100 have a token for each language, before the text and before the translation. Marian
(`opus-mt`) translates one pair of languages, or has a token for the target alone. Other families are refused: transformers 5
changes the scores of T5 and MADLAD when it loads them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lilift.recipe.errors import EnvironmentUnfit, ModelError
from lilift.recipe.storage import sha256_of

Family = Literal["nllb", "m2m100", "marian"]
MODEL = "model.bin"
SHARED = ("sentencepiece.bpe.model", "spiece.model", "sentencepiece.model")
SOURCE, TARGET, JSON_TOKENIZER = "source.spm", "target.spm", "tokenizer.json"
TOKENIZERS = (*SHARED, SOURCE, TARGET, JSON_TOKENIZER)
"""Files of a tokenizer, the first one that is there counts; Marian has two."""
POSITIONS: dict[Family, int] = {"nllb": 1024, "m2m100": 1024, "marian": 512}
"""Tokens that the models of a family read and write at most."""
_CODES: dict[Family, re.Pattern[str]] = {
    "nllb": re.compile(r"[a-z]{3}_[A-Z][a-z]{3}"),
    "m2m100": re.compile(r"__[a-z]{2,3}__"),
    "marian": re.compile(r">>[A-Za-z_-]+<<"),
}
_LEAST_CODES = 2  # a word such as abc_Defg may be in any vocabulary, several are no accident


@dataclass(frozen=True)
class TranslatorFiles:
    """A folder that CTranslate2 reads.

    Attributes:
        folder: the folder.
        vocabulary: the target's tokens.
        source_vocabulary: the source's tokens, the same in most models.
        family: decides where language codes stand.
    """

    folder: Path
    vocabulary: tuple[str, ...]
    source_vocabulary: tuple[str, ...]
    family: Family

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """The language codes of the vocabulary, in its order; none in a Marian model for one pair of languages."""
        tokens = self.source_vocabulary if self.family == "marian" else self.vocabulary
        return tuple(token for token in tokens if _CODES[self.family].fullmatch(token))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of everything that translations depend on: weights, vocabularies, tokenizers."""
        names = sorted(
            path.name for path in self.folder.iterdir() if path.name in TOKENIZERS or path.suffix in (".bin", ".txt")
        )
        names += ["config.json", *(path.name for path in sorted(self.folder.glob("*vocabulary.json")))]
        lines = [f"{name} {sha256_of(self.folder / name)}" for name in names if (self.folder / name).is_file()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """The size of the weights, which is what the translator takes in memory besides its batches."""
        return (self.folder / MODEL).stat().st_size

    def pieces(self) -> Pieces:
        """The tokenizer.

        Raises:
            EnvironmentUnfit: the package `tokenizers` is missing, and the folder has no SentencePiece file.
        """
        return _pieces_of(self.folder)


class Pieces:
    """Splits texts into the pieces of a SentencePiece or `tokenizer.json` file, and joins pieces.

    lilift composes texts (NFC) before: both libraries lose accents of decomposed texts.
    """

    def __init__(self, encode: Any) -> None:
        self._encode = encode

    def split(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens."""
        return list(self._encode(text))

    @staticmethod
    def joined(pieces: list[str]) -> str:
        """The text of some pieces."""
        return "".join(pieces).replace("▁", " ").strip()


def is_converted(folder: Path) -> bool:
    """Whether a folder has a model that CTranslate2 reads."""
    return (folder / MODEL).is_file() and _vocabulary_file(folder, "shared", "target") is not None


def read_translator(folder: Path) -> TranslatorFiles:
    """Look at the files of a converted translator.

    Raises:
        ModelError: a file is missing or damaged, or lilift does not know the family.
    """
    target = _vocabulary_file(folder, "shared", "target")
    source = _vocabulary_file(folder, "shared", "source")
    if target is None or source is None or not (folder / MODEL).is_file():
        raise ModelError(
            f"the folder has no {MODEL} with a vocabulary of CTranslate2",
            where=folder,
            remedy="give a folder that CTranslate2's converter wrote, or a Hugging Face folder of NLLB, M2M100 or Marian",
        )
    vocabulary, source_vocabulary = _read_vocabulary(target), _read_vocabulary(source)
    family = _family(folder, source_vocabulary)
    if family is None:
        raise ModelError(
            "lilift does not know this kind of translator: its vocabulary has no language codes, and it has no source.spm",
            where=folder,
            remedy="give an NLLB, M2M100 or Marian (opus-mt) model",
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelError(
            "the translator has no tokenizer",
            where=folder,
            remedy=f"copy {SHARED[0]} (Marian: {SOURCE} and {TARGET}) of the original model into this folder",
        )
    return TranslatorFiles(folder, vocabulary, source_vocabulary, family)


def _family(folder: Path, vocabulary: tuple[str, ...]) -> Family | None:
    for family in ("nllb", "m2m100"):
        if sum(_CODES[family].fullmatch(token) is not None for token in vocabulary) >= _LEAST_CODES:
            return family
    return "marian" if (folder / SOURCE).is_file() else None


def _vocabulary_file(folder: Path, *names: str) -> Path | None:
    """The first vocabulary that the folder has; old converters wrote text files."""
    paths = (folder / f"{name}_vocabulary.{suffix}" for name in names for suffix in ("json", "txt"))
    return next((path for path in paths if path.is_file()), None)


def _read_vocabulary(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        tokens = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ValueError("no list of tokens")
    except (OSError, ValueError) as error:
        raise ModelError("the vocabulary is damaged", where=path, remedy="convert or download the translator again") from error
    return tuple(tokens)


def _pieces_of(folder: Path) -> Pieces:
    names = [name for name in (*SHARED, SOURCE) if (folder / name).is_file()]
    if names:
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor(model_file=str(folder / names[0]))
        except (OSError, RuntimeError) as error:
            raise ModelError("the tokenizer is damaged", where=folder / names[0], remedy="download it again") from error
        return Pieces(lambda text: processor.encode(text, out_type=str))
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EnvironmentUnfit(
            f"this translator has only a {JSON_TOKENIZER}, and the package tokenizers is not installed",
            remedy="run `pip install 'lilift[pivot]'`",
        ) from error
    try:
        tokenizer = Tokenizer.from_file(str(folder / JSON_TOKENIZER))
    except Exception as error:  # the library raises `Exception` itself
        raise ModelError("the tokenizer is damaged", where=folder / JSON_TOKENIZER, remedy="download it again") from error
    return Pieces(lambda text: tokenizer.encode(text, add_special_tokens=False).tokens)


def configuration_of(folder: Path) -> Mapping[str, Any]:
    """The config.json of a Hugging Face folder.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            "the folder holds no translator: it has neither model.bin with a vocabulary nor config.json",
            where=folder,
            remedy="give a CTranslate2 folder, or a Hugging Face folder of NLLB, M2M100 or Marian",
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError("the configuration is damaged", where=path, remedy="download it again") from error
    if not isinstance(content, dict):
        raise ModelError("the configuration is damaged", where=path, remedy="download it again")
    return content
