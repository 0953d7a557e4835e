"""Control tokens that a text spells out, such as ``</s>`` in a lesson on HTML, read as the text that they are.

transformers turns every spelling of a special token into that token. A response that explains ``</s>`` would end in its middle,
and a question could give orders to the LLM. Only the words of a prompt template may be control tokens.

`ControlTokens.mark` marks a question or response before the template surrounds it. `ControlTokens.encode` then reads marked
spellings as text and all others as control tokens. A text without such spellings gets the tokens it always had.

`split_special_tokens=True` of transformers is not enough (tokenizers 0.23.3). It also splits control tokens of the template,
and a Unigram model (XLM-R, NLLB, T5) finds ``</s>`` in its vocabulary and takes it from there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

_MARK = "\ufdd0"
"""A noncharacter of Unicode: it stands in no text and is put behind the first letter of a marked spelling."""
_UNGUESSABLE = "\ufdd1{}\ufdd1"
"""What a control token is called, by its number, in the tokenizer that reads marked texts."""


class ControlTokens:
    """The control tokens of one tokenizer, by their spelling.

    Args:
        tokenizer: of transformers, or anything that is called in the same way; without special tokens it has no control tokens.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = getattr(tokenizer, "all_special_tokens", ())
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        spellings = {str(token) for token in special} | {token.content for token in added if token.special}
        # A spelling of one letter cannot be marked; `tokenizers` has none.
        self.spellings = tuple(sorted((spelling for spelling in spellings if len(spelling) > 1), key=len, reverse=True))
        self._spelled = _any_of(self.spellings)
        self._marked = _any_of([_marked(spelling) for spelling in self.spellings])
        self._names = {spelling: _UNGUESSABLE.format(number) for number, spelling in enumerate(self.spellings)}

    def found_in(self, text: str) -> list[str]:
        """The control tokens that a text spells out, in their order."""
        return self._spelled.findall(text) if self._spelled else []

    def mark(self, text: str) -> str:
        """The text with every control token in it marked as text."""
        return self._spelled.sub(lambda match: _marked(match[0]), text) if self._spelled else text

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without special tokens around them; marked spellings are read as text.

        Args:
            texts: of which parts have gone through `mark`.
        """
        plain = [index for index, text in enumerate(texts) if not self._is_marked(text)]
        ids: list[list[int]] = [[] for _ in texts]
        if plain:
            found = self._tokenizer([texts[index] for index in plain], add_special_tokens=False, verbose=False)["input_ids"]
            for index, some in zip(plain, found, strict=True):
                ids[index] = list(some)
        for index in set(range(len(texts))) - set(plain):
            ids[index] = self._encode_marked(texts[index])
        return ids

    def encode_as_text(self, text: str) -> list[int]:
        """Token ids of a text in which nothing is a control token."""
        return self.encode([self.mark(text)])[0]

    def _is_marked(self, text: str) -> bool:
        return _MARK in text and self._marked is not None and self._marked.search(text) is not None

    def _encode_marked(self, text: str) -> list[int]:
        assert self._spelled is not None
        assert self._marked is not None
        if self._renamed is None:
            return self._encode_in_pieces(text)
        # First the spellings that the template wrote, then the marked ones, which look like them without the mark.
        named = self._spelled.sub(lambda match: self._names[match[0]], text)
        return list(self._renamed.encode(self._unmarked(named), add_special_tokens=False).ids)

    def _encode_in_pieces(self, text: str) -> list[int]:
        """For tokenizers written in Python: the template's control tokens cut the text, and each piece is read as text."""
        assert self._spelled is not None
        ids: list[int] = []
        end = 0
        for match in self._spelled.finditer(text):
            ids += [*self._encode_piece(text[end : match.start()]), self._tokenizer.convert_tokens_to_ids(match[0])]
            end = match.end()
        return ids + self._encode_piece(text[end:])

    def _encode_piece(self, text: str) -> list[int]:
        if not text:
            return []
        options = {"add_special_tokens": False, "split_special_tokens": True}
        return list(self._tokenizer(self._unmarked(text), **options)["input_ids"])

    def _unmarked(self, text: str) -> str:
        assert self._marked is not None
        return self._marked.sub(lambda match: match[0].replace(_MARK, "", 1), text)

    @cached_property
    def _renamed(self) -> Any | None:
        """The same tokenizer whose control tokens have names that no text spells; None for one that is written in Python."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        from tokenizers import Tokenizer  # what runs exports comes without it

        content, names = json.loads(backend.to_str()), self._names
        for token in content["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        content["post_processor"] = None  # it puts special tokens around a text, by their old names
        content["truncation"] = content["padding"] = None
        model = content["model"]
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {names.get(piece, piece): number for piece, number in vocabulary.items()}
        else:
            model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        return Tokenizer.from_str(json.dumps(content))


def count_spelled(tokenizers: Sequence[ControlTokens], texts: Iterable[Sequence[str]]) -> dict[str, int]:
    """How many rows spell out each control token of any of the tokenizers, the commonest first.

    Args:
        tokenizers: whose control tokens to look for.
        texts: the texts of each row, such as its question and its response.
    """
    counts: Counter[str] = Counter()
    for row in texts:
        counts.update({found for tokens in tokenizers for text in row for found in tokens.found_in(text)})
    return dict(counts.most_common())


def _marked(spelling: str) -> str:
    return spelling[0] + _MARK + spelling[1:]


def _any_of(spellings: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, spellings))) if spellings else None
