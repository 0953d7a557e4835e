"""The tokens that begin and end a text for an LLM, and tokens for which a model has no embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lilift.data.batches.control_tokens import ControlTokens
from lilift.recipe.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LLMTokens:
    """The LLM's special tokens.

    Attributes:
        bos: stands before every text; None if the LLM was trained without such a token.
        eos: ends a response; the LLM learns it in training.
        stop: every token that ends generation.

    lilift needs no padding token, because it never embeds, attends to or scores padding.
    """

    bos: int | None
    eos: int
    stop: tuple[int, ...]


def special_tokens(llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> LLMTokens:
    """The special tokens of an LLM, as its tokenizer and its generation settings use them.

    Raises:
        ModelError: neither of the two says which token ends a text.
    """
    return tokens_of(llm.generation_config.eos_token_id, tokenizer, name)


def tokens_of(declared_eos: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase, name: str) -> LLMTokens:
    """The special tokens of an LLM that is not loaded.

    Args:
        declared_eos: `eos_token_id` of its generation settings.
        tokenizer: its tokenizer.
        name: the LLM's name in errors.

    Raises:
        ModelError: neither settings nor tokenizer say which token ends a text.
    """
    declared = [] if declared_eos is None else [declared_eos] if isinstance(declared_eos, int) else list(declared_eos)
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else next(iter(declared), None)
    if eos is None:
        raise ModelError(
            "the LLM has no end-of-sequence token", where=name, remedy="set `eos_token` in its tokenizer_config.json"
        )
    return LLMTokens(bos=first_token(tokenizer), eos=eos, stop=tuple(dict.fromkeys([eos, *declared])))


def first_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The BOS token if the tokenizer puts it before every text, else None.

    Some tokenizers have a BOS token and never use it. Their LLM has not seen it at the start of a text.
    """
    begins = tokenizer("a").input_ids[:1]
    return tokenizer.bos_token_id if begins == [tokenizer.bos_token_id] else None


def check_tokens_have_rows(tokenizer: Any, rows: float, name: str, *, what: str) -> None:
    """Check that every token that a text can contain has a row in the model's embeddings.

    A padding token without a row is harmless: many copies of Llama 2 have 32,001 tokens and 32,000 rows. lilift reads the
    spelling of a control token in a text as text, so that no text contains such a token.

    Args:
        tokenizer: a tokenizer of transformers.
        rows: the rows of the model's embeddings.
        name: the model's name in errors.
        what: the kind of model, e.g. ``LLM``.

    Raises:
        ModelError: a text can contain a token that has no row.
    """
    beyond = {index: token for token, index in tokenizer.get_vocab().items() if index >= rows}
    if not beyond:
        return
    unreachable = set(ControlTokens(tokenizer).spellings)
    used = {tokenizer.eos_token_id, *tokenizer("a").input_ids}
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if getattr(model, "unk_token", "") is not None:  # byte-level tokenizers spell every text, and never use their unknown token
        used.add(tokenizer.unk_token_id)
    for index, token in sorted(beyond.items()):
        if index in used or token not in unreachable:
            raise ModelError(
                f"the {what}'s tokenizer has the token {token!r} with the number {index}, but the model's embeddings have only "
                f"{rows} rows",
                where=name,
                remedy="use the tokenizer that belongs to these weights, or resize the model's embeddings",
            )
