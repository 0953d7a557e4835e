"""The rows of continued pretraining: running text as the LLM's own tokens, packed into rows of the longest length.

The LLM learns to continue the text, token by token, as in its own pretraining. Documents follow one another with an
end-of-sequence token between them. A row has one language. No token is padding, and none but the last few are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from lilift.data.adaptation_rows import tokens_of_adaptation
from lilift.data.batches.tokenization import LengthReport, Tokenisation
from lilift.data.prepared_data import PreparedData
from lilift.data.texts.examples import Row
from lilift.data.texts.monolingual import Document
from lilift.recipe.errors import DataError, ModelError
from lilift.recipe.schema import Recipe

BLOCK = 4000
"""Characters that are tokenised together, cut at the end of a line. Long texts take tokenizers more time for each letter."""
_TOGETHER = 256
SHORTEST = 2
"""Tokens of the shortest row: one to read and one to learn."""

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class MonolingualRows:
    """Rows of running text; a `lilift.data.batches.step_grouping.RowSource`.

    Attributes:
        texts: the tokens of each language, 4 bytes each.
        row_tokens: tokens of every row but the last one of a language.
        begins_with_bos: whether the LLM puts a token of its own before a row. If not, the row's first token is only read.
    """

    texts: Mapping[str, Tokens]
    row_tokens: int
    begins_with_bos: bool

    def __len__(self) -> int:
        return sum(map(self._rows_of, self.texts.values()))

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:  # noqa: ARG002  every epoch has the same rows
        """The rows at `indices`."""
        return [self._row(index) for index in indices]

    def row_name(self, index: int) -> str:
        """The name of the row at `index` in errors."""
        code, number = self._place(index)
        return f"text in {code}, row {number + 1}"

    def lengths(self, epoch: int = 0, *, at_most: int | None = None) -> LengthReport:  # noqa: ARG002  the rows say it themselves
        """The counts of all rows. No row is too long, because the text is cut into rows."""
        longest = max((len(text) for text in self.texts.values()), default=0)
        return LengthReport(
            read=len(self), kept=len(self), longest_sequence=min(longest, self.row_tokens) + self.begins_with_bos
        )

    def unreadable(self, epoch: int = 0) -> dict[str, float]:  # noqa: ARG002
        """Nothing: no encoder reads these rows."""
        return {}

    def flattened(self) -> int:
        """0: no encoder reads these rows."""
        return 0

    def _rows_of(self, text: Tokens) -> int:
        whole, rest = divmod(len(text), self.row_tokens)
        return whole + (rest >= SHORTEST)

    def _place(self, index: int) -> tuple[str, int]:
        for code, text in self.texts.items():
            if index < self._rows_of(text):
                return code, index
            index -= self._rows_of(text)
        raise IndexError("the index is beyond the last row")

    def _row(self, index: int) -> Row:
        code, number = self._place(index)
        ids = tuple(self.texts[code][number * self.row_tokens : (number + 1) * self.row_tokens].tolist())
        return Row((), (), ids) if self.begins_with_bos else Row((), ids[:1], ids[1:])


def monolingual_rows(prepared: PreparedData, recipe: Recipe, tokenisation: Tokenisation) -> MonolingualRows:
    """Tokenise the prepared text of each language, up to its share of `data.monolingual.tokens`.

    Raises:
        DataError: no language has text for a row.
        ModelError: the LLM's tokenizer has no end-of-sequence token.
    """
    assert recipe.data.monolingual is not None
    share = share_of(recipe)
    texts = {code: _tokens(documents, tokenisation, share) for code, documents in prepared.monolingual.items()}
    alone = tokenisation.shape.packed_length(Row((), (), ()), has_llm_bos=tokenisation.has_llm_bos)
    rows = MonolingualRows(texts, tokenisation.limits.sequence - alone, tokenisation.has_llm_bos)
    if not len(rows):
        raise DataError("the text of data.monolingual is too short for a single row", remedy="name longer files")
    return rows


def share_of(recipe: Recipe) -> int | None:
    """The most tokens of one language's running text; None without a limit."""
    if recipe.encoder.adapt is not None:
        return tokens_of_adaptation(recipe.encoder.adapt)
    settings = recipe.data.monolingual
    return None if settings is None or settings.tokens is None else -(-settings.tokens // len(recipe.languages))


def _tokens(documents: Iterable[Document], tokenisation: Tokenisation, most: int | None) -> Tokens:
    end, control = tokenisation.llm.eos_token_id, tokenisation.control_tokens
    if end is None:
        raise ModelError(
            "the LLM's tokenizer has no end-of-sequence token", remedy="set `eos_token` in its tokenizer_config.json"
        )
    parts: list[Tokens] = []
    count = 0
    waiting = _blocks(documents)
    while blocks := list(islice(waiting, _TOGETHER)):
        encoded = control.encode([control.mark(text) for text, _ in blocks])
        ids = [token for found, (_, ends) in zip(encoded, blocks, strict=True) for token in (*found, *((end,) if ends else ()))]
        parts.append(np.array(ids, dtype=np.int32))
        count += len(ids)
        if most is not None and count >= most:
            break
    return np.concatenate(parts)[:most] if parts else np.empty(0, dtype=np.int32)


def _blocks(documents: Iterable[Document]) -> Iterator[tuple[str, bool]]:
    """Pieces of each document, and whether the document ends with the piece. A line break that a piece ends with is in it."""
    for lines in documents:
        block: list[str] = []
        size = 0
        for line in lines:
            if block and size + len(line) > BLOCK:
                yield "\n".join([*block, ""]), False
                block, size = [], 0
            block.append(line)
            size += len(line)
        yield "\n".join(block), True
