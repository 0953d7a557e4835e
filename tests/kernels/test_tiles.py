"""How the Triton kernels cut their work: whole blocks, a bounded workspace, and nothing that changes from step to step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilift_kernels import dispatch, workspace_bytes
from lilift_kernels.tiles import CANDIDATES, Blocks, card, loss_plan, product_blocks
from lilift_kernels.tiles import workspace_bytes as plan_bytes

CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (13, 0)]
shapes = {
    "capability": st.sampled_from(CAPABILITIES),
    "processors": st.integers(20, 200),
    "rows": st.integers(1, 50_000),
    "vocabulary": st.integers(1, 300_000),
    "width": st.sampled_from([8, 64, 1000, 2048, 4096, 5120, 8192]),
    "size": st.sampled_from([2, 4]),
    "with_gradient": st.booleans(),
    "tuned": st.none() | st.tuples(st.sampled_from(CANDIDATES[2]), st.sampled_from(CANDIDATES[2])),
}


@given(**shapes)
def test_chunks_and_tiles_are_whole_blocks_within_the_workspace(
    capability: tuple[int, int],
    processors: int,
    rows: int,
    vocabulary: int,
    width: int,
    size: int,
    with_gradient: bool,
    tuned: tuple[Blocks, Blocks] | None,
) -> None:
    logits, gradient = tuned or (None, None)
    shape = (capability, processors, rows, vocabulary, width, size)
    plan = loss_plan(*shape, with_gradient=with_gradient, logits=logits, gradient=gradient)
    if tuned is not None:
        assert (plan.logits, plan.gradient) == tuned
    step = math.lcm(plan.logits.columns, plan.gradient.depth if with_gradient else 1)
    assert plan.chunk_rows % math.lcm(plan.logits.rows, plan.gradient.rows) == 0
    assert plan.tile_columns % step == 0
    tiles = -(-vocabulary // plan.tile_columns)
    assert tiles * plan.tile_columns - vocabulary < tiles * step  # what is computed beyond the vocabulary
    assert plan_bytes(plan, rows, width, size, with_gradient=with_gradient) <= 48 * 2**20
    assert plan.capacity(rows) >= min(rows, plan.chunk_rows)


@given(rows=st.integers(129, 50_000), width=st.sampled_from([2048, 4096]), with_gradient=st.booleans())
def test_the_number_of_rows_compiles_nothing_anew(rows: int, width: int, with_gradient: bool) -> None:
    plans = {loss_plan((8, 6), 82, n, 128_256, width, 2, with_gradient=with_gradient) for n in (129, rows)}
    assert len(plans) == 1


@pytest.mark.parametrize(("processors", "columns"), [(82, 128), (108, 128), (128, 128), (132, 256)])
def test_chunks_fill_the_card_in_whole_waves(processors: int, columns: int) -> None:
    capability = (9, 0) if columns == 256 else (8, 6)
    plan = loss_plan(capability, processors, 8000, 128_256, 4096, 2, with_gradient=True)
    programs = plan.chunk_rows // plan.gradient.rows * 4096 // plan.gradient.columns
    assert plan.gradient.columns == columns
    assert programs / (-(-programs // processors) * processors) >= 0.95


def test_newer_cards_get_their_own_blocks_and_few_rows_small_ones() -> None:
    assert product_blocks((8, 9), 5000, 2) == product_blocks((8, 0), 5000, 2)
    assert product_blocks((9, 0), 5000, 2) != product_blocks((8, 0), 5000, 2)
    assert product_blocks((9, 0), 100, 2).rows < product_blocks((9, 0), 5000, 2).rows
    assert product_blocks((8, 6), 5000, 4) == Blocks(64, 64, 32, 4, 2)


@pytest.mark.parametrize("size", [2, 4])
def test_rows_that_begin_anywhere_take_smaller_blocks(size: int) -> None:
    usual, ragged = (product_blocks((8, 6), 5000, size, (4096, width)) for width in (1024, 1001))
    assert ragged.rows * ragged.depth < usual.rows * usual.depth
    plan = loss_plan((8, 6), 82, 5000, 32_000, 1001, size, with_gradient=True)
    assert plan.logits == plan.gradient == ragged


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand")
def test_memory_can_be_planned_for_a_card_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert card("cuda") == ((8, 6), 82)
    small, large = (workspace_bytes(1024, v, 4096, device="cuda") for v in (32_000, 256_000))
    assert 16 * 2**20 < small <= large <= 48 * 2**20
    assert workspace_bytes(1024, 32_000, 4096, device="cuda", training=False) < 8 * 2**20
    monkeypatch.setenv(dispatch.SETTING, "torch")
    assert workspace_bytes(1024, 32_000, 4096, device="cuda") > 48 * 2**20
