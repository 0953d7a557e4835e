"""How the loss cuts its work on a GPU: parts of one size, within a bounded workspace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilift_kernels import dispatch, workspace_bytes
from lilift_kernels.tiles import CANDIDATE_ROWS, COLUMN_STEP, MOST_COLUMNS, MOST_ROWS, loss_cut
from lilift_kernels.tiles import workspace_bytes as cut_bytes

WIDTHS = st.sampled_from([8, 64, 1000, 2048, 4096, 5120, 8192])


@given(
    rows=st.integers(1, 50_000),
    vocabulary=st.integers(1, 300_000),
    width=WIDTHS,
    size=st.sampled_from([2, 4]),
    with_gradient=st.booleans(),
    most_rows=st.sampled_from([MOST_ROWS, *CANDIDATE_ROWS]),
)
def test_parts_are_even_and_fit_into_the_workspace(
    rows: int, vocabulary: int, width: int, size: int, with_gradient: bool, most_rows: int
) -> None:
    cut = loss_cut(rows, vocabulary, width, with_gradient=with_gradient, most_rows=most_rows)
    assert 1 <= cut.rows <= most_rows
    assert cut.columns % COLUMN_STEP == 0
    assert cut.columns <= MOST_COLUMNS
    chunks, slices = -(-rows // cut.rows), -(-vocabulary // cut.columns)
    assert chunks * cut.rows - rows < 8 * chunks
    assert slices * cut.columns - vocabulary < COLUMN_STEP * slices
    limit = 48 if with_gradient else 44 + size * most_rows * width / 2**20  # beside the gathered states
    assert cut_bytes(cut, rows, width, size, with_gradient=with_gradient) <= limit * 2**20


@pytest.mark.parametrize("width", [2048, 4096, 5120])
def test_products_are_large_enough_for_the_librarys_full_rate(width: int) -> None:
    for rows in (1024, 1037, 4096, 16_384):
        cut = loss_cut(rows, 128_256, width, with_gradient=True)
        assert cut.rows >= 1000
        assert cut.columns >= 4096


def test_memory_can_be_planned_for_a_card_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (workspace_bytes(1024, v, 4096, device="cuda") for v in (32_000, 256_000))
    assert 16 * 2**20 < small <= large <= 48 * 2**20
    monkeypatch.setenv(dispatch.SETTING, "torch")
    assert workspace_bytes(1024, 32_000, 4096, device="cuda") > 48 * 2**20
