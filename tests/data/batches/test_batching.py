"""A packed batch: every token in its place, nothing between, nothing lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilift.data.batches.batching import Batch, SequenceShape, collate
from lilift.data.texts.examples import Row
from lilift.recipe.errors import DataError

BOS, PAD = 1, 0
_ids = st.integers(min_value=2, max_value=99)
_rows = st.lists(
    st.builds(
        Row,
        st.lists(_ids, min_size=1, max_size=6).map(tuple),
        st.lists(_ids, max_size=4).map(tuple),
        st.lists(_ids, max_size=5).map(tuple),
    ),
    min_size=1,
    max_size=5,
)
_shapes = st.builds(SequenceShape, st.booleans(), st.booleans(), st.one_of(st.none(), st.integers(1, 4)))


def packed(row: Row, shape: SequenceShape, llm_bos: int | None) -> list[str]:
    """What should stand in a row's sequence, spelled out."""
    soft = len(row.encoder_ids) if shape.latents is None else shape.latents
    return [
        *([f"text {llm_bos}"] if llm_bos is not None else []),
        *(["bos"] if shape.has_bos else []),
        *(["soft"] * soft),
        *(["eos"] if shape.has_eos else []),
        *(f"text {token}" for token in (*row.prompt_ids, *row.response_ids)),
    ]


def unpacked(batch: Batch) -> list[list[str | None]]:
    """What stands in each row of a batch, from its index tensors; None for padding."""
    slots: list[str | None] = [None] * batch.mask.numel()

    def put(slot: int, what: str) -> None:
        assert slots[slot] is None, "two things in one slot"
        slots[slot] = what

    for token, slot in zip(batch.text_ids.tolist(), batch.text_slots.tolist(), strict=True):
        put(slot, f"text {token}")
    for name in ("state", "bos", "eos"):
        for slot in getattr(batch, f"{name}_slots").tolist():
            put(slot, "soft" if name == "state" else name)
    longest = batch.mask.shape[1]
    return [slots[start : start + longest] for start in range(0, len(slots), longest)]


@given(_rows, _shapes, st.sampled_from([None, BOS]), st.booleans())
def test_each_row_is_packed_in_order_without_holes(
    rows: list[Row], shape: SequenceShape, llm_bos: int | None, left_pad: bool
) -> None:
    batch = collate(rows, shape, llm_bos=llm_bos, encoder_pad=PAD, left_pad=left_pad)
    for row, found in zip(rows, unpacked(batch), strict=True):
        expected = packed(row, shape, llm_bos)
        padding = [None] * (len(found) - len(expected))
        assert found == (padding + expected if left_pad else expected + padding)
        assert len(expected) == shape.packed_length(row, has_llm_bos=llm_bos is not None)
    assert batch.tokens == int(batch.mask.sum())
    assert batch.mask.flatten().tolist() == [what is not None for found in unpacked(batch) for what in found]


@given(_rows, _shapes, st.sampled_from([None, BOS]), st.booleans())
def test_positions_count_real_tokens_from_zero(
    rows: list[Row], shape: SequenceShape, llm_bos: int | None, left_pad: bool
) -> None:
    batch = collate(rows, shape, llm_bos=llm_bos, encoder_pad=PAD, left_pad=left_pad)
    for positions, mask in zip(batch.positions, batch.mask, strict=True):
        assert positions[mask].tolist() == list(range(int(mask.sum())))
        assert not positions[~mask].any()


@given(_rows, _shapes, st.sampled_from([None, BOS]), st.booleans())
def test_loss_is_on_the_response_and_nothing_else(
    rows: list[Row], shape: SequenceShape, llm_bos: int | None, left_pad: bool
) -> None:
    batch = collate(rows, shape, llm_bos=llm_bos, encoder_pad=PAD, left_pad=left_pad)
    slots = [what for found in unpacked(batch) for what in found]
    assert batch.loss_labels.tolist() == [token for row in rows for token in row.response_ids]
    # The label is what stands in the next slot of the same row.
    assert [f"text {label}" for label in batch.loss_labels.tolist()] == [slots[slot + 1] for slot in batch.loss_rows.tolist()]
    assert batch.mask.flatten()[batch.loss_rows].all()
    assert batch.loss_tokens == sum(len(row.response_ids) for row in rows)


@given(_rows, _shapes, st.sampled_from([None, BOS]))
def test_left_and_right_padding_differ_by_a_shift_alone(rows: list[Row], shape: SequenceShape, llm_bos: int | None) -> None:
    right = collate(rows, shape, llm_bos=llm_bos, encoder_pad=PAD)
    left = collate(rows, shape, llm_bos=llm_bos, encoder_pad=PAD, left_pad=True)
    longest = right.mask.shape[1]
    shifts = longest - right.mask.sum(dim=1)
    for name in ("text_slots", "state_slots", "bos_slots", "eos_slots", "loss_rows"):
        before, after = getattr(right, name), getattr(left, name)
        assert torch.equal(before + shifts[before // longest], after), name
    for name in ("text_ids", "loss_labels", "encoder_ids", "encoder_mask", "state_rows"):
        assert torch.equal(getattr(right, name), getattr(left, name)), name


@given(_rows, _shapes)
def test_encoder_side_is_padded_on_the_right(rows: list[Row], shape: SequenceShape) -> None:
    batch = collate(rows, shape, llm_bos=BOS, encoder_pad=PAD)
    for row, ids, mask in zip(rows, batch.encoder_ids, batch.encoder_mask, strict=True):
        real = len(row.encoder_ids)
        assert ids[:real].tolist() == list(row.encoder_ids)
        assert (ids[real:] == PAD).all()
        assert mask.tolist() == [True] * real + [False] * (len(ids) - real)
    if shape.latents is None:
        assert batch.encoder_ids.flatten()[batch.state_rows].tolist() == [token for row in rows for token in row.encoder_ids]
        assert batch.state_rows.shape == batch.state_slots.shape
    else:
        assert batch.state_rows.numel() == 0


def test_every_index_is_int64_and_row_ids_are_kept() -> None:
    rows = [Row((5, 6), (7,), (8, 2)), Row((5,), (), (9, 2))]
    batch = collate(rows, SequenceShape(True, True, None), llm_bos=BOS, encoder_pad=PAD, row_ids=[40, 12])
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    assert {name: value.dtype for name, value in tensors.items() if "mask" not in name} == {
        name: torch.int64 for name in tensors if "mask" not in name
    }
    assert batch.row_ids == batch.to("cpu").row_ids == (40, 12)
    assert batch.rows == 2


def test_a_row_without_source_text_is_named() -> None:
    rows = [Row((5,), (), (2,)), Row((), (), (2,))]
    with pytest.raises(DataError, match="row 71: the row has no source text"):
        collate(rows, SequenceShape(True, True, None), llm_bos=BOS, encoder_pad=PAD, row_ids=[70, 71])
