"""Encodes the texts of the next rows while the encoder is on the card, so that it can leave before they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

from lilift.data.batches.row_dealing import deal_rows
from lilift.data.batches.step_grouping import Position, RowSource, Step, StepPlan, iterate_steps
from lilift.data.texts.examples import Row
from lilift.memory.guard import OutOfMemoryGuard
from lilift.model.encoders.encoder_states import EncoderStates, TokenIds
from lilift.processes.joined_processes import ALONE, Processes

Encode = Callable[[Sequence[Row]], None]


def encode_ahead(
    states: EncoderStates, rows: Iterable[Row], note: Callable[[str], None], *, processes: Processes = ALONE
) -> None:
    """Compute the states of these rows' texts, in smaller batches if memory runs out.

    Args:
        states: keeps the states.
        rows: the next rows.
        note: receives a line for the user if memory runs out.
        processes: those that share the batches. They get the same rows, and each keeps its part in a store of its own.
    """
    batches = states.batches([row.encoder_ids for row in rows])
    if not processes.alone:
        states.store.leave_to_others(text for batch in batches for text in batch)
        batches = batches[processes.rank :: processes.size]
    if not batches:
        return
    guard = OutOfMemoryGuard(note)
    with states.encoder_on_card():
        for batch in batches:
            guard.run(batch, states.read, size=_padded_tokens)
    states.store.flush()


class EncodedRows:
    """A `RowSource` that encodes the texts of its rows before it returns the rows.

    Args:
        source: the rows.
        encode: receives all the rows of a pool.
    """

    def __init__(self, source: RowSource, encode: Encode) -> None:
        self._source, self._encode = source, encode

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices` in `epoch`; None for a row that the length policy drops."""
        rows = self._source.rows(epoch, indices)
        self._encode([row for row in rows if row is not None])
        return rows

    def row_name(self, index: int) -> str:
        """The name of the row at `index` in an error."""
        return self._source.row_name(index)


def encoded_steps(
    source: RowSource, plan: StepPlan, start: Position, count: int, encode: Encode, processes: Processes
) -> Iterator[Step]:
    """The next steps of a stage; the texts of a pool's steps are encoded before the first of them.

    Of several processes, each encodes the rows that it trains on. If a process starts in the middle of a pool, it encodes those
    of the earlier steps too, so that it gets the states of an uninterrupted run to the bit.

    Args:
        source: the rows.
        plan: how rows become steps.
        start: the position of the first step.
        count: number of steps; with one process there is no end.
        encode: receives the rows.
        processes: those that train the stage together.
    """
    if processes.alone:
        yield from iterate_steps(EncodedRows(source, encode), plan, start)
        return
    steps = islice(iterate_steps(source, plan, replace(start, step=0)), start.step + count)
    for _, group in groupby(steps, key=lambda step: (step.position.epoch, step.position.pool)):
        of_pool = list(group)
        shares = (deal_rows(step.micro_batches, processes.size, plan.packed_length)[processes.rank] for step in of_pool)
        encode([row for share in shares for rows in share for row in rows])
        yield from (step for step in of_pool if step.position >= start)


def _padded_tokens(texts: Sequence[TokenIds]) -> int:
    return len(texts) * max(len(text) for text in texts)
