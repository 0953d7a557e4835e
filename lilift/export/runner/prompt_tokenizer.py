"""llama.cpp's tokenizer with the steps of training's tokenizer that llama.cpp leaves out, or does where training does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lilift.export.runner.description import DESCRIPTION, LLMPart
from lilift.export.runner.text_normalization import TextNormalization
from lilift.recipe.errors import RunFolderError

_FENCE = "\x01"
"""A character that no token joins with others. llama.cpp puts its space before the fence, and lilift drops both."""


class LlamaTokenizer(Protocol):
    """What lilift needs of llama.cpp."""

    def tokenize(self, text: str, *, as_text: bool = False) -> list[int]:
        """The tokens of a text; with `as_text`, control tokens that it spells out are text."""


class PromptTokenizer:
    """Tokenizes prompts as training did; `lilift.data.batches.control_tokens.ControlTokens` calls it like one of transformers.

    Args:
        llama: llama.cpp with the LLM's file.
        description: the LLM's part of `lilift.json`.
        folder: of the export, for errors.

    Raises:
        RunFolderError: lilift does not know a step of the normalizer.
    """

    def __init__(self, llama: LlamaTokenizer, description: LLMPart, folder: Path) -> None:
        self._llama = llama
        self.all_special_tokens = tuple(description.control_tokens)
        try:
            self._normalize = TextNormalization(description.normalizer, self.all_special_tokens)
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"lilift cannot normalize texts as the LLM's tokenizer does ({error})",
                where=folder / DESCRIPTION,
                remedy="update lilift",
            ) from None
        # llama.cpp's SentencePiece tokenizer puts a space before a text, and also before the text after a control token.
        self._space_at_start_only = description.space_prefix == "start"
        spellings = sorted(self.all_special_tokens, key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, spellings))})") if spellings else None

    def __call__(self, text: str | list[str], *, split_special_tokens: bool = False, **_: bool) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": self._ids(text, split_special_tokens)}
        return {"input_ids": [self._ids(one, split_special_tokens) for one in text]}

    def convert_tokens_to_ids(self, token: str) -> int:
        """The id of a control token."""
        return self._llama.tokenize(token)[0]

    def _ids(self, text: str, as_text: bool) -> list[int]:
        text = self._normalize(text, as_text=as_text)
        if not self._space_at_start_only:
            return self._llama.tokenize(text, as_text=as_text)
        parts = self._parts(text, as_text)
        ids: list[int] = []
        for place, part in enumerate(parts):
            if place % 2:
                ids += self._llama.tokenize(part)
            elif part:
                ids += self._bare(part) if place or part.startswith(" ") else self._llama.tokenize(part, as_text=True)
        return ids

    def _parts(self, text: str, as_text: bool) -> Sequence[str]:
        """Texts and control tokens in turn; the first is a text and may be empty."""
        return [text] if as_text or self._control is None else self._control.split(text)

    def _bare(self, text: str) -> list[int]:
        """The tokens of a text without a space before it."""
        fence = len(self._llama.tokenize(_FENCE, as_text=True))
        return self._llama.tokenize(_FENCE + text, as_text=True)[fence:]
