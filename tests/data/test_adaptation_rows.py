"""Texts with masked tokens: which tokens are masked, the English half, and what is kept back."""

from __future__ import annotations

import pytest

from lilift.data.adaptation_rows import (
    HIDDEN,
    MASKED_SHAPE,
    SHOWN,
    AdaptationRows,
    Masking,
    kept_back,
    most_frequent,
    pieces,
    tokens_of_adaptation,
)
from lilift.data.texts.examples import Row
from lilift.recipe.schema import AdaptSettings

MASK, END = 3, 1
WORDS = frozenset(range(10, 60))


def masking(seed: int = 0) -> Masking:
    return Masking(MASK, WORDS, seed)


def row_of(text: tuple[int, ...], epoch: int = 0, index: int = 0) -> Row:
    row = masking().row(text, epoch, index)
    assert row is not None
    return row


def test_the_asked_tokens_stand_at_their_places_and_all_others_stay() -> None:
    text = (*range(10, 40), END)
    for index in range(50):
        row = row_of(text, index=index)
        assert [text[place] for place in row.prompt_ids] == list(row.response_ids)
        masked = {place for place, token in enumerate(row.encoder_ids) if token == MASK}
        assert masked
        assert masked <= set(row.prompt_ids)
        assert all(row.encoder_ids[place] == text[place] for place in range(len(text)) if place not in masked)
        assert row.encoder_ids[-1] == END
        assert MASKED_SHAPE.packed_length(row, has_llm_bos=False) == len(text)


def test_the_shares_are_those_that_are_promised() -> None:
    text = tuple(range(10, 60))
    rows = [row_of(text, index=index) for index in range(400)]
    tokens = 400 * len(text)
    assert sum(row.encoder_ids.count(MASK) for row in rows) / tokens == pytest.approx(HIDDEN, abs=0.01)
    assert sum(len(row.response_ids) for row in rows) / tokens == pytest.approx(HIDDEN + SHOWN, abs=0.01)


def test_masks_differ_by_epoch_and_are_the_same_in_every_run() -> None:
    text = tuple(range(10, 60))
    assert row_of(text, epoch=1) != row_of(text, epoch=2)
    assert row_of(text, epoch=1) == row_of(text, epoch=1)


def test_a_text_without_a_known_token_has_no_row_and_a_short_one_has_a_mask() -> None:
    assert masking().row((5, 6, END), 0, 0) is None
    assert all(MASK in row_of((10, END), index=index).encoder_ids for index in range(20))


def test_half_of_every_epoch_is_english_and_english_goes_on_in_the_next() -> None:
    foreign, english = [(10, 11), (12, 13)], [(20, 21), (22, 23), (24, 25)]
    rows = AdaptationRows(foreign, english, masking())
    assert len(rows) == 4
    assert [rows._text(0, index) for index in range(4)] == [*foreign, english[0], english[1]]
    assert [rows._text(1, index) for index in range(4)] == [*foreign, english[2], english[0]]
    assert len(AdaptationRows(foreign, [], masking())) == 2


def test_texts_are_kept_back_once_and_for_all() -> None:
    texts = [(number,) for number in range(100)]
    learned, unseen = kept_back(texts, 4)
    assert len(unseen) == 10
    assert sorted([*learned, *unseen]) == texts
    assert kept_back(texts, 4) == (learned, unseen)
    assert kept_back(texts[:1], 4) == (texts[:1], [])


def test_the_most_frequent_tokens_come_in_the_order_of_their_numbers() -> None:
    assert most_frequent([(7, 7, 3), (7, 3, 9)], 2) == (3, 7)


def test_long_lines_are_cut_between_words() -> None:
    line = " ".join(f"word{number}" for number in range(200))
    found = pieces([line, "short"])
    assert " ".join(found[:-1]) == line
    assert found[-1] == "short"
    assert all(len(part) <= 400 for part in found)
    assert "".join(pieces(["ក" * 900])) == "ក" * 900, "a script without blanks"


def test_the_text_that_is_read_grows_with_the_steps() -> None:
    settings = AdaptSettings(text={"sw": "sw.txt"}, steps=10)
    assert tokens_of_adaptation(settings) == 5120
