"""Reading the texts of the next rows while the encoder is on the card, so that it can leave before the rows are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lilift.data.batches.step_grouping import RowSource
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.encoders.encoder_states import EncoderStates, TokenIds

Encode = Callable[[Sequence[Row]], None]


def encode_ahead(states: EncoderStates, rows: Iterable[Row], note: Callable[[str], None]) -> None:
    """Have the states of these rows' texts ready; in smaller batches where memory runs out.

    Args:
        states: keeps them.
        rows: what comes next.
        note: is given a line for people where memory ran out.
    """
    batches = states.batches([row.encoder_ids for row in rows])
    if not batches:
        return
    guard = OutOfMemoryGuard(note)
    with states.encoder_on_card():
        for batch in batches:
            guard.run(batch, states.read, size=_padded_tokens)
    states.store.flush()


class EncodedRows:
    """A `RowSource` whose texts are read as soon as its rows are asked for.

    Args:
        source: the rows.
        encode: is given all the rows of a pool.
    """

    def __init__(self, source: RowSource, encode: Encode) -> None:
        self._source, self._encode = source, encode

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices` as they are in `epoch`; None for one that the length policy drops."""
        rows = self._source.rows(epoch, indices)
        self._encode([row for row in rows if row is not None])
        return rows

    def row_name(self, index: int) -> str:
        """How an error names the row at `index`."""
        return self._source.row_name(index)


def _padded_tokens(texts: Sequence[TokenIds]) -> int:
    return len(texts) * max(len(text) for text in texts)
