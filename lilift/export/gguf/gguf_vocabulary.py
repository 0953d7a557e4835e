"""The vocabulary of a tokenizer in the form of GGUF, so that llama.cpp gives the same tokens as the original tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilift.export.runner.text_normalization import Step
from lilift.recipe.errors import ModelError

if TYPE_CHECKING:
    from gguf import GGUFWriter

UNUSED_SCORE = -10000.0
SPACE = "▁"
REMEDY = "export with --to hf"
_ADDED_SCORE = -1000.0


class TokenType(IntEnum):
    """The kinds of tokens, with SentencePiece's numbers, which GGUF has taken over.

    They stand here because the package `gguf`, which has them too, takes longer to import than a tokenizer to check.
    """

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class Vocabulary:
    """Tokens in the order of their ids, with everything that llama.cpp needs to tokenize a text.

    Attributes:
        model: llama.cpp's name of the algorithm: ``llama`` (SentencePiece BPE), ``t5`` (unigram), ``gpt2`` (byte-level BPE).
        pre: llama.cpp's name of the rule that splits text before BPE.
        tokens, scores, types: one for each id; scores are None if the algorithm has none.
        merges: pairs in the order of their ranks, for ``gpt2``.
        special: ids by role: ``bos``, ``eos``, ``unk``, ``pad``.
        add_bos, add_eos: whether a text begins and ends with these tokens.
        add_space_prefix, remove_extra_whitespaces, charsmap: SentencePiece's normalisation.
        chat_template: the Jinja template that `llama-server` uses for messages.
        space_at_start_only: whether a space goes before a text, but not before the text after a control token.
        normalizer: steps that lilift's runner does before llama.cpp tokenizes a text; GGUF has no place for them.
    """

    model: str
    pre: str
    tokens: list[bytes]
    scores: list[float] | None
    types: list[int]
    merges: list[str] | None = None
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool | None = None
    remove_extra_whitespaces: bool | None = None
    charsmap: bytes | None = None
    chat_template: str | None = None
    normalizer: list[Step] = field(default_factory=list)
    space_at_start_only: bool = False

    def text(self, token: int) -> str:
        """The text of a special token."""
        return self.tokens[token].decode()

    def control_tokens(self) -> list[str]:
        """The spellings that llama.cpp reads as control tokens where it is told to."""
        kinds = (TokenType.CONTROL, TokenType.UNKNOWN)
        return [self.text(index) for index, kind in enumerate(self.types) if kind in kinds]

    def add_to(self, writer: GGUFWriter) -> None:
        """Write the vocabulary into the metadata of a GGUF file."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        add = {
            "bos": writer.add_bos_token_id,
            "eos": writer.add_eos_token_id,
            "unk": writer.add_unk_token_id,
            "pad": writer.add_pad_token_id,
        }
        for role, token in self.special.items():
            add[role](token)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.add_space_prefix is not None:
            writer.add_add_space_prefix(self.add_space_prefix)
        if self.remove_extra_whitespaces is not None:
            writer.add_remove_extra_whitespaces(self.remove_extra_whitespaces)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


def unused_vocabulary(size: int, model: str, pre: str) -> Vocabulary:
    """A vocabulary of `size` placeholder tokens."""
    tokens = [f"[PAD{index}]".encode() for index in range(size)]
    return Vocabulary(model, pre, tokens, [UNUSED_SCORE] * size, [int(TokenType.UNUSED)] * size)


def apply_added_tokens(vocabulary: Vocabulary, added: Mapping[int, Mapping[str, Any]], where: Path) -> None:
    """Put the added tokens of a tokenizer into its vocabulary.

    A control token without a row in the embeddings is left out. It is a padding token, and lilift reads its spelling in a text
    as text, so that no text of training has it.

    Raises:
        ModelError: the embeddings of the model have no row for another one.
    """
    for index, token in added.items():
        if index >= len(vocabulary.tokens):
            if token.get("special"):
                continue
            raise ModelError(
                f"the model's embeddings have no row for the token {token['content']!r}", where=where, remedy=REMEDY
            )
        if vocabulary.types[index] in (TokenType.UNKNOWN, TokenType.CONTROL):
            continue  # the tokenizer's main file has already set it
        text = token["content"]
        special = bool(token.get("special"))
        vocabulary.types[index] = int(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        if vocabulary.scores is not None:
            vocabulary.scores[index] = _ADDED_SCORE
            text = text if special else text.replace(SPACE, " ")
        vocabulary.tokens[index] = text.encode()
