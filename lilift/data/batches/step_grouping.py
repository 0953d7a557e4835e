"""Groups rows into optimizer steps, step by step, and in the same way in every run.

An epoch is a seeded shuffle of the rows, cut into pools of a few thousand rows. lilift tokenizes one pool at a time and sorts
it by length, so that the rows of a micro-batch are similar and need little padding, unless all lengths are similar. It cuts the
pool into micro-batches with a limit of padded tokens, shuffles these, and groups them into optimizer steps of about
`tokens_per_step` real tokens. Only one pool is in memory. An interrupted run can resume at any step, because lilift can build
the pool of that step again.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lilift.data.batches.batching import SequenceShape
from lilift.data.texts.examples import Row
from lilift.recipe.errors import DataError

NARROW = 4
"""Rows whose lengths differ by no more tokens keep their shuffled order. Sorting them would save little padding, and would put
rows with the same answer into one step: with one soft token for a text, the length of a row is that of its answer."""


class RowSource(Protocol):
    """The rows of a stage, made when a step needs them."""

    def __len__(self) -> int:
        """Number of rows in every epoch, including rows that will be dropped."""

    def rows(self, epoch: int, indices: Sequence[int]) -> list[Row | None]:
        """The rows at `indices` in `epoch`; None for a row that the length policy drops."""

    def row_name(self, index: int) -> str:
        """The name of the row at `index` in errors."""


@dataclass(frozen=True)
class StepPlan:
    """The settings by which rows become steps.

    Attributes:
        shape: what the alignment layer adds to a sequence.
        has_llm_bos: whether a row begins with the LLM's BOS.
        tokens_per_step: approximate number of real tokens of one optimizer step.
        tokens_per_micro_batch: largest number of tokens of one micro-batch, padding included.
        seed: the seed of every shuffle.
        pool_rows: approximate number of rows that are tokenized and sorted together.
    """

    shape: SequenceShape
    has_llm_bos: bool
    tokens_per_step: int
    tokens_per_micro_batch: int
    seed: int
    pool_rows: int = 4096

    def packed_length(self, row: Row) -> int:
        """Positions of a row in the LLM."""
        return self.shape.packed_length(row, has_llm_bos=self.has_llm_bos)


@dataclass(frozen=True, order=True)
class Position:
    """A position in the endless sequence of steps; `Position()` is the first. Checkpoints store it as three numbers."""

    epoch: int = 0
    pool: int = 0
    step: int = 0


@dataclass(frozen=True)
class Step:
    """The rows of one optimizer step.

    Attributes:
        micro_batches: the rows of each micro-batch.
        row_ids: the index of each of these rows in the source.
        tokens: number of real tokens of the step.
        loss_tokens: number of tokens of the step that have loss.
        position: the position of this step.
        following: the position of the next step; a checkpoint after this step stores it.
    """

    micro_batches: tuple[tuple[Row, ...], ...]
    row_ids: tuple[tuple[int, ...], ...]
    tokens: int
    loss_tokens: int
    position: Position
    following: Position


@dataclass(frozen=True)
class _Measured:
    """A row with its index in the source and its packed length."""

    row: Row
    index: int
    length: int


def iterate_steps(source: RowSource, plan: StepPlan, start: Position | None = None) -> Iterator[Step]:
    """Yield the steps from `start` on, epoch after epoch, without end.

    Raises:
        DataError: the source is empty, an epoch has no rows left, or a single row exceeds the limit of a micro-batch.
    """
    position = start or Position()
    if len(source) == 0:
        raise DataError("there are no rows to train on", remedy="read the run's data report to see why rows were left out")
    while True:
        pools = _pools(len(source), position.epoch, plan)
        seen = position.pool > 0 or position.step > 0
        for pool in range(position.pool, len(pools)):
            steps = _pool_steps(source, plan, position.epoch, pool, pools[pool])
            first = position.step if pool == position.pool else 0
            for number in range(first, len(steps)):
                last = number + 1 == len(steps)
                here = Position(position.epoch, pool, number)
                following = Position(position.epoch, pool + 1, 0) if last else Position(position.epoch, pool, number + 1)
                seen = True
                yield _step(steps[number], here, following)
        if not seen:
            raise DataError(
                f"the length limits drop all {len(source)} rows",
                where=f"epoch {position.epoch}",
                remedy="set data.max_tokens and encoder.max_tokens higher, or set data.over_length to truncate",
            )
        position = Position(position.epoch + 1, 0, 0)


@dataclass(frozen=True)
class Survey:
    """The facts about a stage that the first epoch shows.

    Attributes:
        steps: number of optimizer steps of the stage; the learning-rate schedule uses it.
        heaviest: the rows of the micro-batch that needs the most memory.
    """

    steps: int
    heaviest: tuple[Row, ...]


def survey_steps(source: RowSource, plan: StepPlan, *, epochs: float, max_steps: int | None) -> Survey:
    """Count the steps of a stage and find its heaviest micro-batch.

    lilift tokenizes the first epoch once and multiplies its number of steps by `epochs`. Other epochs may differ by a few steps
    if they swap other words. The count ends early when it is certain to reach `max_steps`.
    """
    count, weight = 0, (0, 0)
    heaviest: tuple[Row, ...] = ()
    for step in iterate_steps(source, plan):
        if step.position.epoch > 0:
            break
        count += 1
        for rows in step.micro_batches:
            longest = max(plan.shape.packed_length(row, has_llm_bos=plan.has_llm_bos) for row in rows)
            # The same number of tokens in longer rows needs more: attention grows with the square of the length.
            if (len(rows) * longest, longest) > weight:
                heaviest, weight = rows, (len(rows) * longest, longest)
        if max_steps is not None and count * epochs >= max_steps:
            return Survey(max_steps, heaviest)
    return Survey(max(1, math.floor(count * epochs + 0.5)), heaviest)


def _pools(rows: int, epoch: int, plan: StepPlan) -> list[list[int]]:
    """The shuffled row indices of an epoch, in pools of nearly equal size."""
    order = list(range(rows))
    random.Random(f"order {plan.seed} {epoch}").shuffle(order)
    count = math.ceil(rows / plan.pool_rows)
    ends = [rows * pool // count for pool in range(count + 1)]
    return [order[start:end] for start, end in itertools.pairwise(ends)]


def _pool_steps(
    source: RowSource, plan: StepPlan, epoch: int, pool: int, indices: Sequence[int]
) -> list[list[list[_Measured]]]:
    """Steps of micro-batches of rows, for one pool."""
    measured = [
        _Measured(row, index, plan.shape.packed_length(row, has_llm_bos=plan.has_llm_bos))
        for row, index in zip(source.rows(epoch, indices), indices, strict=True)
        if row is not None
    ]
    lengths = [item.length for item in measured]
    if max(lengths, default=0) - min(lengths, default=0) > NARROW:
        measured.sort(key=lambda item: item.length)  # stable, so equal lengths stay shuffled
    micro_batches = _micro_batches(measured, plan, source)
    rng = random.Random(f"pool {plan.seed} {epoch} {pool}")
    rng.shuffle(micro_batches)
    return _grouped(micro_batches, plan.tokens_per_step)


def _micro_batches(measured: Sequence[_Measured], plan: StepPlan, source: RowSource) -> list[list[_Measured]]:
    """Cut rows into micro-batches, so that rows × longest row stays within the limit. Sorted rows need the fewest."""
    budget, longest = plan.tokens_per_micro_batch, 0
    micro_batches: list[list[_Measured]] = []
    for item in measured:
        if item.length > budget:
            raise DataError(
                f"a row of {item.length} tokens does not fit into a micro-batch of {budget} tokens",
                where=source.row_name(item.index),
                remedy="set tokens_per_micro_batch higher, or data.max_tokens lower",
            )
        longest = max(longest, item.length)
        if micro_batches and (len(micro_batches[-1]) + 1) * longest <= budget:
            micro_batches[-1].append(item)
        else:
            micro_batches.append([item])
            longest = item.length
    return micro_batches


def _grouped(micro_batches: Sequence[list[_Measured]], tokens_per_step: int) -> list[list[list[_Measured]]]:
    """Group micro-batches into steps of about `tokens_per_step`; a last step of less than half joins the step before it."""
    steps: list[list[list[_Measured]]] = []
    tokens = 0
    for micro_batch in micro_batches:
        more = sum(item.length for item in micro_batch)
        if steps and abs(tokens + more - tokens_per_step) <= abs(tokens - tokens_per_step):
            steps[-1].append(micro_batch)
            tokens += more
        else:
            steps.append([micro_batch])
            tokens = more
    if len(steps) > 1 and tokens < tokens_per_step / 2:
        rest = steps.pop()
        steps[-1].extend(rest)
    return steps


def _step(micro_batches: Sequence[Sequence[_Measured]], position: Position, following: Position) -> Step:
    return Step(
        micro_batches=tuple(tuple(item.row for item in micro_batch) for micro_batch in micro_batches),
        row_ids=tuple(tuple(item.index for item in micro_batch) for micro_batch in micro_batches),
        tokens=sum(item.length for micro_batch in micro_batches for item in micro_batch),
        loss_tokens=sum(len(item.row.response_ids) for micro_batch in micro_batches for item in micro_batch),
        position=position,
        following=following,
    )
