"""Packs rows into one batch of index tensors.

A packed row is ``[LLM BOS][alignment bos][soft tokens][alignment eos][prompt][response]`` without gaps. So the result of a row
never depends on the other rows. (Encoder states that are padded on the right would leave padding inside a row, which moves
every later token: https://github.com/kaistAI/LangBridge/issues/10.) This module computes once, on the CPU, all indices that the
model needs to build its inputs and to select the positions with loss. A training step gathers and scatters by these indices and
never waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lilift.data.texts.examples import Row
from lilift.recipe.errors import DataError

Integers = npt.NDArray[np.int64]
Lengths = TypeVar("Lengths", int, Integers, Tensor)


@dataclass(frozen=True)
class SequenceShape:
    """What an alignment layer adds to a sequence.

    Attributes:
        has_bos: a learned vector comes before the soft tokens.
        has_eos: a learned vector comes after the soft tokens.
        latents: a fixed number of soft tokens, or None for one per window of encoder states; 0 if there is no encoder.
        pool: the largest number of encoder states in a window.
    """

    has_bos: bool
    has_eos: bool
    latents: int | None
    pool: int = 1

    @property
    def reads_states(self) -> bool:
        """Whether there is an encoder to read a row's source."""
        return self.latents != 0

    def windows(self, lengths: Lengths) -> Lengths:
        """Number of windows of texts with so many encoder states."""
        return -(-lengths // self.pool)

    def soft_length(self, encoder_tokens: int) -> int:
        """Number of soft tokens for a text of `encoder_tokens`, without boundary vectors."""
        return self.windows(encoder_tokens) if self.latents is None else self.latents

    def packed_length(self, row: Row, *, has_llm_bos: bool) -> int:
        """Number of positions of the LLM's sequence that a row needs in total."""
        boundaries = int(has_llm_bos) + int(self.has_bos) + int(self.has_eos)
        return boundaries + self.soft_length(len(row.encoder_ids)) + len(row.prompt_ids) + len(row.response_ids)


@dataclass(frozen=True)
class Batch:
    """A batch of B rows; S is the length of the longest encoder text, T of the longest packed row. Index tensors are int64.

    Attributes:
        encoder_ids: [B, S], padded on the right.
        encoder_mask: [B, S] bool.
        mask: [B, T] bool, True on real positions.
        positions: [B, T] position ids that count real positions from 0; padding repeats 0.
        text_ids: [N_text] every LLM token of the batch, row by row: BOS, prompt, response.
        text_slots: [N_text] where its embedding goes, as an index into [B * T].
        state_rows: [N_state] the real encoder states, as indices into [B * S]; empty for a fixed number of latents.
        state_slots: [N_soft] where the soft tokens go, as indices into [B * T]; N_soft is the number of windows, or
            B * latents.
        bos_slots: [B] where the alignment layer's first vector goes; [0] if it has none.
        eos_slots: [B] where its last vector goes; [0] if it has none.
        loss_rows: [N] the positions whose next token has loss, as indices into [B * T].
        loss_labels: [N] this next token.
        row_ids: index of each row among the caller's rows.
        encoder_states: what the encoder gives, [B, S, E] or [B, S, L + 1, E], if it is already computed.
        left_pad: the padding is before each row instead of after it.
    """

    encoder_ids: Tensor
    encoder_mask: Tensor
    mask: Tensor
    positions: Tensor
    text_ids: Tensor
    text_slots: Tensor
    state_rows: Tensor
    state_slots: Tensor
    bos_slots: Tensor
    eos_slots: Tensor
    loss_rows: Tensor
    loss_labels: Tensor
    row_ids: tuple[int, ...]
    encoder_states: Tensor | None = None
    left_pad: bool = False

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: part.to(device, non_blocking=True) for name, part in parts.items() if isinstance(part, Tensor)
        }
        return replace(self, **moved)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.row_ids)

    @property
    def tokens(self) -> int:
        """Number of real positions; computed from shapes only, so it does not wait for the device."""
        parts = (self.text_slots, self.state_slots, self.bos_slots, self.eos_slots)
        return sum(part.shape[0] for part in parts)

    @property
    def loss_tokens(self) -> int:
        """Number of positions with loss; computed from shapes only."""
        return self.loss_labels.shape[0]


def collate(
    rows: Sequence[Row],
    shape: SequenceShape,
    *,
    llm_bos: int | None,
    encoder_pad: int,
    left_pad: bool = False,
    row_ids: Sequence[int] | None = None,
) -> Batch:
    """Pack rows into a batch.

    Args:
        rows: at least one row; generation continues a row without response.
        shape: what the alignment layer adds to a sequence.
        llm_bos: the LLM's first token, or None for an LLM without one.
        encoder_pad: the padding token for the encoder's ids, on the right.
        left_pad: put the padding before each row instead of after it, as generation needs.
        row_ids: indices of the rows among the caller's rows; 0, 1, … if left out.

    Raises:
        DataError: a row has no encoder tokens, so the encoder cannot read it.
    """
    if not rows:
        raise ValueError("a batch needs at least one row")
    ids = tuple(range(len(rows))) if row_ids is None else tuple(row_ids)
    if len(ids) != len(rows):
        raise ValueError(f"{len(rows)} rows but {len(ids)} row ids")
    encoder_lengths = _lengths([row.encoder_ids for row in rows])
    if shape.reads_states and not encoder_lengths.all():
        raise DataError(
            "the row has no source text", where=f"row {ids[int(encoder_lengths.argmin())]}", remedy="remove the row"
        )

    soft_lengths = shape.windows(encoder_lengths) if shape.latents is None else np.full_like(encoder_lengths, shape.latents)
    prompt_lengths = _lengths([row.prompt_ids for row in rows])
    response_lengths = _lengths([row.response_ids for row in rows])
    # Where each part of a row begins, counted from the row's own first real position.  All [B].
    bos_at = np.full_like(soft_lengths, int(llm_bos is not None))
    soft_at = bos_at + int(shape.has_bos)
    eos_at = soft_at + soft_lengths
    prompt_at = eos_at + int(shape.has_eos)
    response_at = prompt_at + prompt_lengths
    lengths = response_at + response_lengths

    longest = int(lengths.max())
    row_starts = np.arange(len(rows), dtype=np.int64) * longest
    starts = row_starts + (longest - lengths if left_pad else 0)  # [B] flat index of each row's first real position

    counts = np.arange(longest, dtype=np.int64)[None, :] - (starts - row_starts)[:, None]  # [B, T] position in the row
    mask = (counts >= 0) & (counts < lengths[:, None])
    text_ids, text_slots = _text(rows, llm_bos, starts, prompt_at, prompt_lengths + response_lengths)
    encoder_mask = np.arange(int(encoder_lengths.max()))[None, :] < encoder_lengths[:, None]  # [B, S]
    encoder_ids = np.full(encoder_mask.shape, encoder_pad, dtype=np.int64)
    encoder_ids[encoder_mask] = _concatenated([row.encoder_ids for row in rows])
    states = np.flatnonzero(encoder_mask) if shape.latents is None else np.empty(0, dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    return Batch(
        encoder_ids=torch.from_numpy(encoder_ids),
        encoder_mask=torch.from_numpy(encoder_mask),
        mask=torch.from_numpy(mask),
        positions=torch.from_numpy(np.where(mask, counts, 0)),
        text_ids=torch.from_numpy(text_ids),
        text_slots=torch.from_numpy(text_slots),
        state_rows=torch.from_numpy(states),
        state_slots=torch.from_numpy(_ranges(starts + soft_at, soft_lengths)),
        bos_slots=torch.from_numpy(starts + bos_at if shape.has_bos else none),
        eos_slots=torch.from_numpy(starts + eos_at if shape.has_eos else none),
        # The position before a response token predicts this token.
        loss_rows=torch.from_numpy(_ranges(starts + response_at - 1, response_lengths)),
        loss_labels=torch.from_numpy(_concatenated([row.response_ids for row in rows])),
        row_ids=ids,
        left_pad=left_pad,
    )


def _text(
    rows: Sequence[Row], llm_bos: int | None, starts: Integers, prompt_at: Integers, text_lengths: Integers
) -> tuple[Integers, Integers]:
    """Every LLM token of the batch, and the flat slot of each token; both [N_text]."""
    first = () if llm_bos is None else (llm_bos,)
    ids = _concatenated([(*first, *row.prompt_ids, *row.response_ids) for row in rows])
    slots = _ranges(starts + prompt_at, text_lengths)
    if llm_bos is None:
        return ids, slots
    ends = np.cumsum(text_lengths)
    return ids, np.insert(slots, ends - text_lengths, starts)


def _lengths(parts: Sequence[tuple[int, ...]]) -> Integers:
    return np.array([len(part) for part in parts], dtype=np.int64)


def _concatenated(parts: Sequence[tuple[int, ...]]) -> Integers:
    return np.array([number for part in parts for number in part], dtype=np.int64)


def _ranges(starts: Integers, lengths: Integers) -> Integers:
    """The numbers ``start, start + 1, …`` of every row, one row after the other."""
    before = np.cumsum(lengths) - lengths  # [B] how many numbers come before those of the row
    numbers: Integers = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)
    return numbers
