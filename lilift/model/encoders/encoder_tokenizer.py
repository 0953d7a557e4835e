"""Turn text into the encoder's own tokens.

A SentencePiece model with byte fallback spells rare letters out in bytes. Transformers' conversion of T5's tokenizer (and
llama.cpp's: https://github.com/ggml-org/llama.cpp/issues/28862) gives one unknown token instead and loses the letters, in
low-resource scripts often whole words. So lilift uses the original SentencePiece file wherever its ids are the model's ids.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import sentencepiece
from transformers import AutoTokenizer, PreTrainedConfig
from transformers.utils import cached_file

from lilift.data.batches.control_tokens import ControlTokens
from lilift.data.batches.token_cache import identity_of
from lilift.data.composed_text import composed
from lilift.model.encoders.source_languages import SourceLanguages, source_languages_of, special_tokens_around
from lilift.model.llms.special_tokens import check_tokens_have_rows
from lilift.model.sources import SENTENCEPIECE_FILES, check_tokenizer, loading
from lilift.recipe.errors import ModelError


class EncoderTokenizer(Protocol):
    """What lilift needs of an encoder's tokenizer."""

    @property
    def pad_id(self) -> int:
        """Fills shorter texts of a batch."""

    @property
    def unknown_id(self) -> int | None:
        """Stands for text that the vocabulary cannot spell; None if the vocabulary can spell every text."""

    @property
    def identity(self) -> str | None:
        """See `lilift.data.batches.token_cache.identity_of`."""

    @property
    def source_languages(self) -> SourceLanguages | None:
        """The languages that the tokenizer can announce; None if it announces none."""

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """The tokens of a text in NFC, with `encoder.prefix` and the encoder's own tokens around it.

        A cut to `max_tokens` keeps all of these and cuts the text.
        """

    def in_language(self, language: str | None) -> EncoderTokenizer:
        """The same tokenizer for texts in a language (lilift's code); None means its default language."""


class HuggingFaceTokenizer:
    """A tokenizer as transformers loads it.

    Args:
        tokenizer: of transformers.
        pad_id: see `EncoderTokenizer`.
        source_languages: see `EncoderTokenizer`.
        text_prefix: the setting `encoder.prefix`.
    """

    def __init__(
        self, tokenizer: Any, pad_id: int, source_languages: SourceLanguages | None = None, text_prefix: str = ""
    ) -> None:
        self.tokenizer = tokenizer
        self.pad_id = pad_id
        self.text_prefix = text_prefix
        self.unknown_id: int | None = tokenizer.unk_token_id
        self.source_languages = source_languages
        self.prefix, self.suffix = special_tokens_around(tokenizer)
        # This covers the tokens that it puts around a text in its default language.
        self._identity = _identity_with(text_prefix, identity_of(tokenizer))
        self.identity = self._identity
        self._control_tokens = ControlTokens(tokenizer)

    def in_language(self, language: str | None) -> HuggingFaceTokenizer:
        """See `EncoderTokenizer`."""
        if self.source_languages is None:
            return self
        code = self.source_languages.code(language)
        other = copy.copy(self)
        other.prefix, other.suffix = self.source_languages.frame(code)
        if self._identity is not None and code != self.source_languages.default:
            other.identity = hashlib.sha256(f"{self._identity} {other.prefix} {other.suffix}".encode()).hexdigest()
        else:
            other.identity = self._identity
        return other

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """See `EncoderTokenizer`."""
        ids = self._control_tokens.encode_as_text(_as_read(self.text_prefix, text))
        return _framed(ids, self.prefix, self.suffix, max_tokens)


class SentencePieceTokenizer:
    """The model's original SentencePiece file, byte fallback included. No model with such a file announces languages."""

    source_languages = None

    def __init__(
        self,
        processor: sentencepiece.SentencePieceProcessor,
        prefix: Sequence[int],
        suffix: Sequence[int],
        pad_id: int,
        text_prefix: str = "",
    ) -> None:
        self.processor = processor
        self.text_prefix = text_prefix
        self.prefix, self.suffix = list(prefix), list(suffix)
        self.pad_id = pad_id
        self.unknown_id: int | None = processor.unk_id()
        made_by = f"sentencepiece {version('sentencepiece')} {self.prefix} {self.suffix} "
        own = hashlib.sha256(made_by.encode() + processor.serialized_model_proto()).hexdigest()
        self.identity = _identity_with(text_prefix, own)

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """See `EncoderTokenizer`."""
        return _framed(self.processor.encode(_as_read(self.text_prefix, text)), self.prefix, self.suffix, max_tokens)

    def in_language(self, language: str | None) -> SentencePieceTokenizer:  # noqa: ARG002
        """Itself."""
        return self


class AbsentTokenizer:
    """The `EncoderTokenizer` of a recipe without encoder: a text has no tokens."""

    pad_id = 0
    unknown_id = None
    identity = "no encoder"
    source_languages = None

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:  # noqa: ARG002
        """No tokens."""
        return []

    def in_language(self, language: str | None) -> AbsentTokenizer:  # noqa: ARG002
        """Itself."""
        return self


def load_encoder_tokenizer(
    location: str,
    revision: str | None,
    config: PreTrainedConfig,
    language_codes: Mapping[str, str] | None = None,
    *,
    text_prefix: str = "",
) -> EncoderTokenizer:
    """Load an encoder's tokenizer: its SentencePiece file if that has the model's ids, else transformers' tokenizer.

    Args:
        location: a folder or hub name from `model_folder_or_hub`.
        revision: commit, tag or branch on the hub.
        config: the encoder's configuration.
        language_codes: the setting `encoder.language_codes`.
        text_prefix: the setting `encoder.prefix`.

    Raises:
        ModelError: lilift finds no tokenizer that fits the model, or the tokenizer lacks one of `language_codes`.
    """
    converted: Any = None
    failure: ModelError | None = None
    try:
        with loading(location, what="encoder's tokenizer"):
            converted = AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=False)
            check_tokenizer(converted, location, what="encoder")
    except ModelError as error:
        converted, failure = None, error
    rows = getattr(config.get_text_config(), "vocab_size", math.inf)  # CANINE has no vocabulary
    source_languages = source_languages_of(converted, language_codes or {}, location)
    processor = _sentencepiece_processor(location, revision)
    fits = processor is not None and has_model_ids(processor, converted, config) and processor.get_piece_size() <= rows
    if source_languages is None and processor is not None and fits:
        pad_id = processor.pad_id() if processor.pad_id() >= 0 else config.pad_token_id
        if converted is None:
            return SentencePieceTokenizer(processor, [], [processor.eos_id()], pad_id, text_prefix)
        return SentencePieceTokenizer(processor, *special_tokens_around(converted), pad_id, text_prefix)
    if failure is not None:
        raise failure
    check_tokens_have_rows(converted, rows, location, what="encoder")
    pads = (converted.pad_token_id, config.pad_token_id)
    pad_id = next((token for token in pads if token is not None and token < rows), None)
    if pad_id is None:
        raise ModelError("the encoder's tokenizer has no padding token", where=location, remedy="set `pad_token` in it")
    return HuggingFaceTokenizer(converted, pad_id, source_languages, text_prefix)


def has_model_ids(processor: sentencepiece.SentencePieceProcessor, converted: Any | None, config: PreTrainedConfig) -> bool:
    """Whether a SentencePiece file numbers its pieces as the model does.

    lilift compares it piece by piece with the converted tokenizer (the fairseq models, XLM-R and NLLB, shift every id by one).
    If transformers cannot convert the file, lilift compares its special tokens with those of the model's configuration.
    """
    size = processor.get_piece_size()
    if converted is None:
        special = (processor.pad_id(), processor.eos_id())
        return special == (config.pad_token_id, config.eos_token_id) and size <= config.vocab_size
    spelled = [index for index in range(size) if not processor.is_control(index) and not processor.is_unknown(index)]
    pieces = [processor.id_to_piece(index) for index in spelled]
    return size <= len(converted) and bool(pieces == converted.convert_ids_to_tokens(spelled))


def _sentencepiece_processor(location: str, revision: str | None) -> sentencepiece.SentencePieceProcessor | None:
    for name in SENTENCEPIECE_FILES:
        path = cached_file(
            location,
            name,
            revision=revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is not None:
            try:
                return sentencepiece.SentencePieceProcessor(model_file=str(Path(path)))
            except (OSError, RuntimeError):
                return None  # a `tokenizer.model` in another format, such as tiktoken's
    return None


def _as_read(prefix: str, text: str) -> str:
    """A text in NFC after `encoder.prefix`. The prefix alone ends without its blank, which belongs to the text's first word."""
    text = composed(text)
    return (prefix + text).rstrip() if prefix else text


def _identity_with(text_prefix: str, identity: str | None) -> str | None:
    if not text_prefix or identity is None:
        return identity
    return hashlib.sha256(f"{identity} {text_prefix}".encode()).hexdigest()


def _framed(ids: Sequence[int], prefix: list[int], suffix: list[int], max_tokens: int | None) -> list[int]:
    if max_tokens is not None:
        ids = ids[: max(0, max_tokens - len(prefix) - len(suffix))]
    return [*prefix, *ids, *suffix]
